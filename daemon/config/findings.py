"""What validation says: one thing that is wrong, or worth knowing, each."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "incomplete", "warning"]
"""`incomplete`: a part of a config, a preset say, need not have it; a run cannot start without."""


@dataclass(frozen=True, slots=True)
class Finding:
    """*pointer* is RFC 6901, empty for the whole config. *allowed* and *nearest* where there is a list of what may stand there."""

    level: Level
    pointer: str
    message: str
    allowed: tuple[str, ...] = ()
    nearest: str | None = None
    is_refused: bool = False
    """An error that `force` does not pass over: a path that the client may not name."""

    @property
    def line(self) -> str:
        return f"{self.pointer}: {self.message}" if self.pointer else self.message


def of_line(line: str, level: Level, *, is_refused: bool = False) -> Finding:
    """A finding from its line."""
    where, _, message = line.partition(": ")
    return Finding(level, where if where.startswith("/") else "", message, is_refused=is_refused)
