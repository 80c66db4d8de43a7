"""Run directories with journals as runners leave them, and what a store says of them."""

import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from daemon.scalars.filling import Filler
from daemon.scalars.query import Query, answer
from daemon.supervisor.store import RunSpec, RunStore
from ipc.journal import JournalReader, JournalWriter
from ipc.messages import number_from_json, number_to_json
from ipc.run_directory import RunDirectory

LOSS = "loss/train_step"
Points = dict[tuple[int, str], list[tuple[int, float, float]]]


def make_run(folder: Path, attempts: int = 1) -> RunDirectory:
    directory = RunStore(folder / "state").create(RunSpec("builtin", {}), 1.0).directory
    for number in range(1, attempts + 1):
        directory.attempt(number).create()
    return directory


def step(number: int, scalars: Mapping[str, float], kind: str = "step") -> dict[str, Any]:
    told = {tag: number_to_json(value) for tag, value in scalars.items()}
    return {"type": kind, "ts": 1000.0 + number / 4, "global_step": number, "scalars": told}


def append(journal: Path, *records: Mapping[str, Any]) -> None:
    writer = JournalWriter(journal)
    for record in records:
        writer.append(record)
    writer.close()


def fill(directory: RunDirectory) -> None:
    filler = Filler(directory)
    try:
        while not filler.fill(60.0):
            pass
    finally:
        filler.close()


def asked(directory: RunDirectory, query: Query) -> dict[str, Any]:
    [body] = answer(directory.scalars, directory.run_id, query, True)
    found: dict[str, Any] = orjson.loads(body)
    return found


def stored(directory: RunDirectory) -> Points:
    """All that the store holds, by attempt and tag."""
    series = asked(directory, Query(max_points=None))["series"]
    return {(one["attempt"], one["tag"]): _points(one) for one in series}


def _points(one: dict[str, Any]) -> list[tuple[int, float, float]]:
    values = map(number_from_json, one["value"])
    return list(zip(one["global_step"], one["time"], values, strict=True))


def journaled(directory: RunDirectory) -> Points:
    """The same, read from the journals line by line."""
    found: Points = {}
    for attempt in directory.attempts():
        for journal in (attempt.events, attempt.orphan_events):
            for row in _rows(journal):
                for tag, value in row["scalars"].items():
                    point = (row["global_step"], row["ts"], number_from_json(value))
                    found.setdefault((attempt.number, tag), []).append(point)
    return found


def _rows(journal: Path) -> Iterator[dict[str, Any]]:
    reader = JournalReader(journal)
    while records := reader.read():
        for record in records:
            if record["type"] in ("step", "scalars"):
                yield record
            elif record["type"] == "steps":
                yield from record["rows"]
    reader.close()


def bits(points: Points) -> dict[tuple[int, str], list[tuple[int, bytes, bytes]]]:
    """Comparable: NaN is not equal to itself, its bits are."""
    return {
        key: [(number, struct.pack("d", time), struct.pack("d", math.nan if math.isnan(value) else value)) for number, time, value in rows]
        for key, rows in points.items()
    }
