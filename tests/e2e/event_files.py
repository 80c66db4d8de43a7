"""TensorBoard's event files as TensorBoard itself reads them, and our scalars in the same form."""

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

_READ = """
import json, os, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
def word(value):
    return value if value - value == 0 else str(value)
for folder in sys.argv[1:]:
    events = EventAccumulator(folder, size_guidance={"scalars": 0})
    events.Reload()
    print(json.dumps({tag: [[event.step, word(event.value)] for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}))
"""
Scalars = dict[str, list[tuple[int, float | str]]]


def read_event_files(python: str, workspace: Path) -> list[Scalars]:
    """Of each attempt in turn: by tag, (step from 0, value in single precision)."""
    folders = sorted(workspace.glob("tensorboard/*"), key=lambda folder: min(file.name for file in folder.iterdir()))
    read = subprocess.run([python, "-c", _READ, *map(str, folders)], check=True, capture_output=True, text=True, timeout=120)
    lines = [line for line in read.stdout.splitlines() if line.startswith("{")]
    return [{tag: [(step, value) for step, value in rows] for tag, rows in json.loads(line).items()} for line in lines]


def of_attempt(metrics: dict[str, Any], attempt: int) -> Scalars:
    """What `/runs/{id}/metrics` tells of *attempt*, in the same form."""
    found: Scalars = {}
    for one in metrics["series"]:
        if one["attempt"] == attempt:
            assert one["count"] == len(one["value"])
            found[one["tag"]] = [
                (step - 1, _single(value) if not isinstance(value, str) else {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}[value])
                for step, value in zip(one["global_step"], one["value"], strict=True)
            ]
    return found


def _single(value: float) -> float:
    [single] = struct.unpack("f", struct.pack("f", value))
    return float(single)
