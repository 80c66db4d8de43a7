"""Places in histories: a spot in one run's, and the cursor that a client holds over all of them."""

import base64
import binascii
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import orjson

from daemon.errors import InvalidError
from ipc.run_directory import RUN_ID


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


@dataclass(frozen=True)
class Cursor:
    """What a client has seen: of the runs in *marks* as far as these say, of other runs up to id *through* all, of later ones nothing."""

    through: str = ""
    marks: dict[str, Mark] = field(default_factory=dict)

    def encode(self) -> str:
        flat = {run_id: [*mark.spot, mark.sent] for run_id, mark in self.marks.items()}
        return base64.urlsafe_b64encode(orjson.dumps([1, self.through, flat])).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises InvalidError for anything that `encode` did not make."""
        try:
            version, through, flat = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            marks = {run_id: _mark(numbers) for run_id, numbers in flat.items()}
            if version != 1 or not all(RUN_ID.fullmatch(run_id) for run_id in (*marks, *([through] if through else []))):
                raise ValueError("not a cursor of this version")
        except (binascii.Error, ValueError, TypeError, AttributeError) as error:
            raise InvalidError(
                f"cursor: {text[:100]!r} is not a cursor that this server gave; leave it out to begin at the present", code="bad_cursor"
            ) from error
        return cls(through, marks)

    def moved(self, run_id: str, mark: Mark) -> "Cursor":
        return Cursor(max(self.through, run_id), {**self.marks, run_id: mark})

    def without(self, run_id: str) -> "Cursor":
        """*run_id* has been seen to its end."""
        return Cursor(max(self.through, run_id), {key: mark for key, mark in self.marks.items() if key != run_id})


def _mark(numbers: object) -> Mark:
    if not isinstance(numbers, list) or len(numbers) != 4 or not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("not a mark")
    return Mark(Spot(*numbers[:3]), numbers[3])
