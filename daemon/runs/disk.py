"""How much room a file system must have: before a run starts, and while it runs. Pure: sizes come in as arguments."""

from dataclasses import dataclass

from daemon.runs.policies import DiskLevel


@dataclass(frozen=True, slots=True)
class DiskMarks:
    """Bytes free on a file system below which a run is not started, is warned of, and is held; 0: never.

    On a small file system (a tmpfs) a mark is at most a tenth, a twentieth and a fiftieth of its size.
    """

    reserve_bytes: int = 256 << 20
    low_bytes: int = 512 << 20
    hold_bytes: int = 128 << 20


@dataclass(frozen=True, slots=True)
class Room:
    """A file system, by a *path* on it: bytes in all, and free for us. *may_hold*: a run whose files lie here is held when it is full."""

    path: str
    total: int
    free: int
    may_hold: bool = True


_LEVELS: tuple[DiskLevel, ...] = ("ok", "low", "held")
_RECOVERED = 1.25
"""A level is left at a quarter above its mark, so that a file system at the mark does not hold and resume by turns."""


def reserve(marks: DiskMarks, room: Room) -> int:
    return min(marks.reserve_bytes, room.total // 10)


def level_of(marks: DiskMarks, room: Room, before: DiskLevel) -> DiskLevel:
    """The level of *room*, that had (at most) the level *before*."""
    if room.may_hold and _is_below(room.free, min(marks.hold_bytes, room.total // 50), before == "held"):
        return "held"
    return "low" if _is_below(room.free, min(marks.low_bytes, room.total // 20), before != "ok") else "ok"


def worst(marks: DiskMarks, rooms: list[Room], before: DiskLevel) -> tuple[DiskLevel, Room | None]:
    """The worst level of *rooms*, and the room that has it and least bytes."""
    found = [(level_of(marks, room, before), room) for room in rooms]
    if not found:
        return "ok", None
    level, room = max(found, key=lambda item: (_LEVELS.index(item[0]), -item[1].free))
    return level, room


def _is_below(free: int, mark: int, was_below: bool) -> bool:
    return free < mark * (_RECOVERED if was_below else 1.0)
