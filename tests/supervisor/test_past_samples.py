"""The samples of a run's history, joined with what its trainers told of them, and with what lies in the folder."""

from pathlib import Path
from typing import Any

from daemon.samples.names import describe
from daemon.samples.selection import Wanted
from daemon.supervisor.leavings import found_samples
from daemon.supervisor.past_samples import PastSamples, told_samples
from ipc.journal import JournalWriter
from ipc.run_directory import RunDirectory
from tests.samples import files


def write(journal: Path, *records: dict[str, Any]) -> None:
    writer = JournalWriter(journal)
    for record in records:
        writer.append(record)
    writer.sync()
    writer.close()


def drawn(folder: Path, step: int) -> Path:
    path = folder / "0 - a dog" / f"2026-training-sample-{step}-0-{step}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(files.image("PNG"))
    return path


def test_what_the_trainer_told_late_is_looked_up_and_pages_give_each_file_once(tmp_path: Path) -> None:
    run, samples = RunDirectory(tmp_path / "000001-abcd"), tmp_path / "samples"
    run.daemon.mkdir(parents=True)
    run.attempt(1).events.mkdir(parents=True)
    paths = [drawn(samples, step) for step in (1, 2, 3)]
    words = [{"type": "sample", "path": str(path), "prompt": "a dog / two", "seed": 7, "index": 0, "kind": "default"} for path in paths]
    late = [{"type": "sample.found", "after": [1, 1], "sample": describe(path, samples, path.stat()).to_json()} for path in paths]
    again = {"type": "sample.found", "after": [1, 1], "sample": describe(paths[0], samples, paths[0].stat(), words[0]).to_json()}
    write(run.daemon, *late, {"type": "sample.found", "after": [1, 1], "sample": 5}, again)
    write(run.attempt(1).events, *words)
    assert [(number, info.step, info.seed, info.prompt) for number, info in told_samples(run)] == [
        (5, 1, 7, "a dog / two"), (3, 3, 7, "a dog / two"), (2, 2, 7, "a dog / two"), (1, 1, 7, "a dog / two"),
    ]  # fmt: skip
    paths[2].unlink()
    pages = []
    before = None
    while True:
        found, before = found_samples(run, 1, before=before)
        pages.append([(one.info.step, one.exists) for one in found])
        if before is None:
            break
    assert pages == [[(1, True)], [(3, False)], [(2, True)]]
    assert [one.info.step for one in found_samples(run, 9, Wanted(prompt="/ TWO", step_from=2))[0]] == [3, 2]

    past = PastSamples()
    index = past.index(run, samples)
    assert [(info.step, info.seed, info.prompt) for info in index.newest(9)] == [(2, 7, "a dog / two"), (1, 7, "a dog / two")]
    drawn(samples, 9)
    assert past.index(run, samples) is index
    assert [info.step for info in index.newest(1)] == [9]
