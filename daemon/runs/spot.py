"""Places in histories: a spot in one run's, and the cursor that a client holds over all of them."""

import base64
import binascii
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import orjson

from daemon.errors import InvalidError
from ipc.run_directory import RUN_ID

_PLAIN_MARKS = 30
_MAX_JSON_BYTES = 1 << 20
_UNREAD = 0


class Spot(NamedTuple):
    """How much of a run's history has been read: up to event *seq* of attempt *attempt*, and *own_seq* of the daemon's own records.

    Every record raises one of the three, so that spots of one run are ordered as its history is.
    """

    attempt: int = 0
    seq: int = 0
    own_seq: int = 0


class Mark(NamedTuple):
    """A spot, and how many messages of the next record have been sent already."""

    spot: Spot = Spot()
    sent: int = 0

    @property
    def is_silent(self) -> bool:
        """Whether nobody has been told anything up to here: the first record of every run is its `run.queued`, of which no message is
        made. To begin anew here loses and repeats nothing."""
        return self <= (Spot(own_seq=1), 0)


@dataclass(frozen=True)
class Cursor:
    """What a client has seen: of the runs in *marks* as far as these say, of other runs up to id *through* all, of later ones nothing.

    It is sent with each message and comes back in a URL, of which servers take 8 KiB: so the runs of a long queue, which are the newest
    and have said nothing yet, are kept behind *through* and need no mark.
    """

    through: str = ""
    marks: dict[str, Mark] = field(default_factory=dict)

    def encode(self) -> str:
        """About 30 characters a run in *marks*; where there are many, 7."""
        flat = {run_id: _UNREAD if mark == Mark() else [*mark.spot, mark.sent] for run_id, mark in self.marks.items()}
        data = orjson.dumps([1, self.through, flat])
        return base64.urlsafe_b64encode(zlib.compress(data) if len(flat) > _PLAIN_MARKS else data).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises InvalidError (code `bad_cursor`) for anything that `encode` did not make."""
        try:
            data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            version, through, flat = orjson.loads(data if data.startswith(b"[") else _inflate(data))
            marks = {run_id: _mark(numbers) for run_id, numbers in flat.items()}
            if version != 1 or not all(RUN_ID.fullmatch(run_id) for run_id in (*marks, *([through] if through else []))):
                raise ValueError("not a cursor of this version")
        except (binascii.Error, zlib.error, ValueError, TypeError, AttributeError) as error:
            raise bad_cursor(f"{text[:100]!r} is not a cursor that this server gave") from error
        return cls(through, marks)

    def moved(self, run_id: str, mark: Mark, skipped: Iterable[str] = ()) -> "Cursor":
        """*run_id* has been seen up to *mark*. *skipped* are all runs between *through* and it; of those without a mark nothing has been
        seen."""
        if mark.is_silent:
            return self if run_id > self.through else Cursor(self.through, {**self.marks, run_id: Mark()})
        unread = {other: Mark() for other in skipped if other not in self.marks}
        return Cursor(max(self.through, run_id), {**self.marks, **unread, run_id: mark})

    def without(self, run_id: str) -> "Cursor":
        """*run_id* has been seen to its end, or is gone."""
        return Cursor(self.through, {key: mark for key, mark in self.marks.items() if key != run_id})


def bad_cursor(what: str) -> InvalidError:
    return InvalidError(f"cursor: {what}; leave it out to begin without one", code="bad_cursor")


def _inflate(data: bytes) -> bytes:
    """Bounded: some bytes from a stranger must not become gigabytes."""
    inflater = zlib.decompressobj()
    found = inflater.decompress(data, _MAX_JSON_BYTES)
    if not inflater.eof:
        raise ValueError("too long, or cut off")
    return found


def _mark(numbers: object) -> Mark:
    if type(numbers) is int and numbers == _UNREAD:
        return Mark()
    if not isinstance(numbers, list) or len(numbers) != 4 or not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("not a mark")
    return Mark(Spot(*numbers[:3]), numbers[3])
