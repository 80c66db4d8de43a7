"""The samples of a run that has ended, as its folder has them now and its history tells of them. Blocks on the disk."""

import threading
from collections.abc import Iterator
from pathlib import Path

from daemon.files.records import newest_records
from daemon.samples.index import SampleIndex
from daemon.samples.names import SampleInfo
from ipc.run_directory import RunDirectory


def told_samples(directory: RunDirectory) -> Iterator[tuple[int, SampleInfo]]:
    """The samples that the run's history has announced, newest first, each with the number of its record. One that was written again
    comes again. Records that are none are passed over."""
    for record in newest_records(directory.daemon, "sample.found"):
        try:
            yield int(record["seq"]), SampleInfo.from_json(record["sample"])
        except (KeyError, TypeError, ValueError):
            continue


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
