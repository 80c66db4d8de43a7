"""What a run's journals say of scalars, as columns. Pure, and without numpy: the daemon itself fills the store."""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ipc.messages import number_from_json

_STEPS = range(2**63)


@dataclass(slots=True)
class Columns:
    """Points of one tag, in the order in which they came: `global_step`, Unix seconds, value."""

    steps: "array[int]" = field(default_factory=lambda: array("q"))
    times: "array[float]" = field(default_factory=lambda: array("d"))
    values: "array[float]" = field(default_factory=lambda: array("d"))

    def __len__(self) -> int:
        return len(self.steps)

    def append(self, step: int, time: float, value: float) -> None:
        self.steps.append(step)
        self.times.append(time)
        self.values.append(value)

    def extend(self, other: "Columns") -> None:
        self.steps.extend(other.steps)
        self.times.extend(other.times)
        self.values.extend(other.values)

    def part(self, start: int, stop: int) -> "Columns":
        return Columns(self.steps[start:stop], self.times[start:stop], self.values[start:stop])

    def to_bytes(self) -> bytes:
        """One column behind the other; of this machine's byte order, since the store is derived."""
        return self.steps.tobytes() + self.times.tobytes() + self.values.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Columns":
        """Raises ValueError on a length that `to_bytes` cannot have given."""
        columns, (size, rest) = cls(), divmod(len(data), 3)
        if rest:
            raise ValueError(f"{len(data)} bytes are no three columns")
        columns.steps.frombytes(data[:size])
        columns.times.frombytes(data[size : 2 * size])
        columns.values.frombytes(data[2 * size :])
        return columns


def columns_of(records: Iterable[dict[str, Any]]) -> dict[str, Columns]:
    """The points in *records* by tag. What makes no sense is passed over: a value alone, or its whole row."""
    found: dict[str, Columns] = {}
    for record in records:
        for row in _rows(record):
            step, time, scalars = row.get("global_step"), row.get("ts"), row.get("scalars")
            if type(step) is not int or step not in _STEPS or not isinstance(time, int | float) or not isinstance(scalars, dict):
                continue
            for tag, value in scalars.items():
                try:
                    number = number_from_json(value)
                except (TypeError, ValueError, OverflowError):
                    continue
                if (columns := found.get(tag)) is None:
                    columns = found[tag] = Columns()
                columns.append(step, float(time), number)
    return found


def _rows(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    match record.get("type"):
        case "step" | "scalars":
            yield record
        case "steps":
            rows = record.get("rows")
            yield from (row for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()
