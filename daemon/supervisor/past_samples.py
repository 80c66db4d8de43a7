"""The samples of a run that has ended, as its folder has them now and its history tells of them. Blocks on the disk."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from daemon.files.records import newest_records
from daemon.samples.index import SampleIndex
from daemon.samples.names import SampleInfo, display, read_told
from ipc.run_directory import RunDirectory


def told_samples(directory: RunDirectory) -> Iterator[tuple[int, SampleInfo]]:
    """The samples that the run's history has announced, newest first, each with the number of its record. One that was written again
    comes again. Records that are none are passed over.

    An announcement waits a second for the trainer's word. Where that came later (a seed is what only it tells), it is looked up.
    """
    words: Mapping[str, dict[str, Any]] | None = None
    for record in newest_records(directory.daemon, "sample.found"):
        try:
            number, info = int(record["seq"]), SampleInfo.from_json(record["sample"])
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
        if info.seed is None:
            words = _words(directory) if words is None else words
            if (event := words.get(info.path)) is not None:
                info = replace(info, **read_told(event))
        yield number, info


def _words(directory: RunDirectory) -> dict[str, dict[str, Any]]:
    """What the run's trainers told of their samples, by path; of several at one path the last."""
    words: dict[str, dict[str, Any]] = {}
    for attempt in reversed(directory.attempts()):
        for journal in (attempt.orphan_events, attempt.events):
            for record in newest_records(journal, "sample"):
                if isinstance(path := record.get("path"), str):
                    words.setdefault(display(path), record)
    return words


class PastSamples:
    """Keeps the index of the run that was asked for last: of 100,000 samples it takes seconds to make, and then none to look again."""

    def __init__(self) -> None:
        self._kept: tuple[RunDirectory, SampleIndex] | None = None
        self._lock = threading.Lock()

    def index(self, directory: RunDirectory, samples_dir: Path) -> SampleIndex:
        """Up to date with the disk."""
        with self._lock:
            if self._kept is None or self._kept[0] != directory or self._kept[1].samples_dir != samples_dir:
                index = SampleIndex(samples_dir)
                index.preload(info for _, info in reversed(list(told_samples(directory))))
                self._kept = directory, index
            index = self._kept[1]
        index.reconcile()
        return index
