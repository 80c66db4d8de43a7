"""From the journals into the store: every point, once, whatever dies or is damaged."""

import math
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from daemon.scalars.filling import Filler
from daemon.scalars.store import ScalarStore
from ipc.journal import JournalWriter
from tests.scalars.lab import LOSS, append, bits, fill, journaled, make_run, step, stored

_FILL_FOR_EVER = """
import sys
from pathlib import Path
from daemon.scalars.filling import Filler
from ipc.run_directory import RunDirectory
filler = Filler(RunDirectory(Path(sys.argv[1])))
while True:
    try:
        filler.fill(0.0)
    except OSError:
        pass  # somebody else was faster
    print(flush=True)
"""
_FILL_WITHOUT_ROOM = """
import resource, signal, sys
from pathlib import Path
from daemon.scalars.filling import Filler
from ipc.run_directory import RunDirectory
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    Filler(RunDirectory(Path(sys.argv[1]))).fill(60.0)
except OSError as error:
    print(error)
"""


def test_every_point_is_stored_as_it_was_journaled_however_it_came(tmp_path: Path) -> None:
    directory = make_run(tmp_path, attempts=2)
    together: dict[str, Any] = {"type": "steps", "ts": 1.0, "rows": [step(number, {LOSS: number, "lr/unet": 1e-5}) for number in (3, 4)]}
    append(
        directory.attempt(1).events, {"type": "runner.started"}, step(1, {LOSS: math.nan, "lr/unet": 1e-5}),
        step(2, {LOSS: math.inf, "ema_decay": -math.inf}), together, step(5, {LOSS: -0.0}, "scalars"),
    )  # fmt: skip
    append(directory.attempt(1).orphan_events, step(6, {LOSS: 5e-324}))
    append(directory.attempt(2).events, step(4, {LOSS: 1.7976931348623157e308}))
    fill(directory)
    assert bits(stored(directory)) == bits(journaled(directory))
    assert [number for number, _, _ in stored(directory)[1, LOSS]] == [1, 2, 3, 4, 5, 6]


def test_a_store_that_is_filled_in_many_small_portions_holds_few_chunks_and_every_point(tmp_path: Path) -> None:
    directory = make_run(tmp_path)
    filler = Filler(directory)
    journal = JournalWriter(directory.attempt(1).events)
    for number in range(1, 1500):
        journal.append(step(number, {LOSS: 1 / number}))
        filler.fill(60.0)
    filler.close()
    assert bits(stored(directory)) == bits(journaled(directory))
    with sqlite3.connect(directory.scalars) as connection:
        assert connection.execute("SELECT count(*) FROM chunk").fetchone()[0] <= 12
    connection.close()


def test_a_filler_that_is_killed_again_and_again_stores_every_point_once(tmp_path: Path) -> None:
    directory = make_run(tmp_path, attempts=2)
    chance = random.Random(7)
    is_written = threading.Event()

    def train() -> None:
        for attempt, begin in ((1, 1), (2, 11_900)):
            journal = JournalWriter(directory.attempt(attempt).events, segment_bytes=300_000)
            for number in range(begin, begin + 12_000):
                journal.append(step(number, {LOSS: chance.random(), "lr/unet": 1e-4}))
            journal.close()
        is_written.set()

    trainer = threading.Thread(target=train)
    trainer.start()
    kills = 0
    while kills < 6 or not is_written.is_set():
        filling = subprocess.Popen([sys.executable, "-c", _FILL_FOR_EVER, str(directory.path)], stdout=subprocess.PIPE)
        assert filling.stdout is not None
        for _ in range(chance.randrange(1, 12)):
            filling.stdout.readline()
        filling.send_signal(signal.SIGKILL)
        filling.stdout.close()
        filling.wait()
        kills += 1
    trainer.join()
    fill(directory)
    assert bits(stored(directory)) == bits(journaled(directory))


def test_two_fillers_at_once_store_every_point_once(tmp_path: Path) -> None:
    directory = make_run(tmp_path)
    append(directory.attempt(1).events, *(step(number, {LOSS: number, "lr/unet": 1 / number}) for number in range(1, 20_000)))
    command = [sys.executable, "-c", _FILL_FOR_EVER, str(directory.path)]
    fillers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    for filler in fillers:
        assert filler.stdout is not None
        for _ in range(8):
            filler.stdout.readline()
    for filler in fillers:
        filler.kill()
        filler.communicate()
    fill(directory)
    assert bits(stored(directory)) == bits(journaled(directory))


@pytest.mark.parametrize("harm", ["removed", "cut", "garbled", "no database", "another version"])
def test_a_store_that_is_gone_or_of_no_use_is_made_anew(tmp_path: Path, harm: str) -> None:
    directory = make_run(tmp_path)
    append(directory.attempt(1).events, *(step(number, {LOSS: number}) for number in range(1, 3000)))
    fill(directory)
    path = directory.scalars
    match harm:
        case "removed":
            path.unlink()
        case "cut":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        case "garbled":
            data = bytearray(path.read_bytes())
            data[4096:] = random.Random(1).randbytes(len(data) - 4096)
            path.write_bytes(data)
        case "no database":
            path.write_text("a poem")
        case "another version":
            with sqlite3.connect(path) as connection:
                connection.execute("PRAGMA user_version = 99")
            connection.close()
    append(directory.attempt(1).events, step(3000, {LOSS: 1.0}))
    fill(directory)
    assert bits(stored(directory)) == bits(journaled(directory))


def test_a_journal_that_a_power_cut_has_shortened_is_believed(tmp_path: Path) -> None:
    directory = make_run(tmp_path)
    events = directory.attempt(1).events
    append(events, *(step(number, {LOSS: number}) for number in range(1, 100)))
    fill(directory)
    [segment] = events.iterdir()
    segment.write_bytes(segment.read_bytes()[:2000])
    append(events, step(50, {LOSS: 0.5}))
    fill(directory)
    assert bits(stored(directory)) == bits(journaled(directory))


def test_a_store_without_room_for_more_keeps_what_it_has_and_is_filled_up_later(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    directory = make_run(tmp_path)
    append(directory.attempt(1).events, *(step(number, {LOSS: number, "lr/unet": 1 / number}) for number in range(1, 30_000)))
    said = subprocess.run(
        [sys.executable, "-c", _FILL_WITHOUT_ROOM, str(directory.path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert str(directory.scalars) in said.stdout, said
    fill(directory)
    assert bits(stored(directory)) == bits(journaled(directory))


def test_rows_that_make_no_sense_are_passed_over_and_their_neighbours_kept(tmp_path: Path) -> None:
    directory = make_run(tmp_path)
    broken: list[dict[str, Any]] = [
        {"type": "step"}, {"type": "steps", "rows": 3}, {"type": "steps", "rows": [None, {"global_step": 1}]},
        {"type": "step", "global_step": -1, "scalars": {LOSS: 1}}, {"type": "step", "global_step": 2**63, "scalars": {LOSS: 1}},
        {"type": "step", "global_step": "1", "scalars": {LOSS: 1}}, {"type": "step", "global_step": 1, "scalars": [LOSS]},
        {"type": "step", "global_step": 1, "ts": "now", "scalars": {LOSS: 1}},
        {"type": "step", "global_step": 1, "scalars": {LOSS: "many", "lr/unet": None, "ema_decay": 1}},
    ]  # fmt: skip
    append(directory.attempt(1).events, *broken, step(2, {LOSS: 2.0}))
    fill(directory)
    found = {key: [(number, value) for number, _, value in rows] for key, rows in stored(directory).items()}
    assert found == {(1, LOSS): [(2, 2.0)], (1, "ema_decay"): [(1, 1.0)]}


def test_a_run_that_nobody_has_begun_gets_no_store(tmp_path: Path) -> None:
    directory = make_run(tmp_path, attempts=0)
    fill(directory)
    assert not directory.scalars.exists()
    assert ScalarStore.reading(directory.scalars) is None
    assert stored(directory) == {}
