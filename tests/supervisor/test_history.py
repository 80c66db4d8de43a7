"""Long histories: taken in fast, read on from where a checkpoint stands, and waited for."""

import os
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.runs.fold import Record
from daemon.runs.spot import Spot
from daemon.runs.states import RunState
from daemon.supervisor.disk_guard import LOOK_S
from daemon.supervisor.history import History
from daemon.supervisor.store import RunStore
from ipc.journal import JournalWriter
from ipc.run_directory import RunDirectory
from tests.supervisor.clock import StillClock
from tests.supervisor.conftest import FINISHED, READY, Lab, spec, step, wait_state, wait_until

LONG = 6000


def a_step(number: Any) -> Record:
    place = {"global_step": number, "epoch": 0, "epoch_step": 1, "epoch_sample": 1, "max_step": LONG, "max_epoch": 1}
    return {"type": "step", **place, "elapsed_s": 1.0, "steps_per_second": 1.0, "scalars": {"loss/train_step": 0.5}}


def make_run(state_dir: Path, records: list[Record]) -> RunDirectory:
    """A run whose first attempt has told *records*."""
    stored = RunStore(state_dir).create(spec(), 1.0)
    history = History(stored.directory, "scripted")
    history.advance()
    history.append("run.starting", {"attempt": 1, "continue_from": None})
    history.advance()
    history.close()
    stored.directory.checkpoints.unlink()
    stored.directory.attempt(1).create()
    journal = JournalWriter(stored.directory.attempt(1).events)
    began: list[Record] = [{"type": "runner.started"}, {"type": "trainer.spawned", "trainer": {"pid": 5}}]
    for record in (*began, *records):
        journal.append(record)
    journal.close()
    return stored.directory


def caught_up(directory: RunDirectory) -> History:
    history = History(directory, "scripted")
    while history.catch_up():
        pass
    return history


TOLD = st.one_of(
    st.integers(1, 9).map(a_step),
    st.just(a_step("no number")),
    st.integers(1, 9).map(lambda number: {"type": "steps", "rows": [a_step(number)]}),
    st.just({"type": "steps", "rows": []}),
    st.sampled_from(["loading", "training", "sampling"]).map(lambda phase: {"type": "phase", "phase": phase}),
    st.just({"type": "paused", "mode": "hold"}),
    st.just({"type": "status", "text": "a word"}),
)


@settings(max_examples=40)
@given(records=st.lists(TOLD, max_size=30), limit=st.integers(1, 12))
def test_a_history_taken_in_fast_comes_to_the_view_of_one_taken_in_entry_by_entry(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record], limit: int
) -> None:
    directory = make_run(tmp_path_factory.mktemp("state"), records)
    slow, fast = History(directory, "scripted"), History(directory, "scripted")
    while slow.advance():
        pass
    while fast.catch_up(limit):
        pass
    assert (fast.view, fast.spot, fast.was_at_work) == (slow.view, slow.spot, slow.was_at_work)
    slow.close()
    fast.close()


def test_what_stands_before_a_checkpoint_is_not_read_again(tmp_path: Path) -> None:
    directory = make_run(tmp_path, [a_step(number + 1) for number in range(LONG)])
    first = caught_up(directory)
    first.close()
    segment = directory.attempt(1).events / "000000000001.jsonl"
    with segment.open("r+b") as file:
        file.write(b"#" * (segment.stat().st_size // 2))
    second = caught_up(directory)
    assert (second.view, second.spot, second.take_damage()) == (first.view, first.spot, [])
    middle = Spot(1, LONG * 3 // 4, 2)
    assert [entry.record["seq"] for entry in second.read_from(middle, 5)] == [middle.seq + 1 + more for more in range(5)]
    second.close()


def test_a_checkpoint_that_stands_behind_the_end_of_a_cut_journal_does_no_harm(tmp_path: Path) -> None:
    directory = make_run(tmp_path, [a_step(number + 1) for number in range(LONG)])
    first = caught_up(directory)
    first.close()
    segment = directory.attempt(1).events / "000000000001.jsonl"
    os.truncate(segment, 1000)  # a power cut took what was not synced
    second = caught_up(directory)
    assert (second.view, second.spot) == (first.view, first.spot)
    assert second.read_from(first.spot) == []
    second.close()


@pytest.mark.parametrize("portion", [1, 7, 512])
def test_a_reader_in_portions_gets_each_entry_once_with_the_view_that_belongs_to_it(tmp_path: Path, portion: int) -> None:
    count = LONG // 10 if portion == 1 else LONG
    history = caught_up(make_run(tmp_path, [a_step(number + 1) for number in range(count)]))
    spot, steps = Spot(), []
    while entries := history.read_from(spot, portion):
        assert len(entries) <= portion
        assert entries[0].before == spot
        steps += [entry.view.progress.global_step for entry in entries if entry.view.progress]
        spot = entries[-1].spot
    assert steps == list(range(1, count + 1))
    assert spot == history.spot
    history.close()


async def test_while_a_long_history_is_read_the_run_is_as_its_checkpoint_says_and_nothing_starts(lab: Lab) -> None:
    directory = make_run(lab.state_dir, [a_step(number + 1) for number in range(LONG)])
    lab.waits = False
    async with lab.daemon() as supervisor:
        run = supervisor.run(directory.run_id)
        assert (supervisor.is_adopted, run.view.progress) == (False, None)
        queued = supervisor.submit(spec(READY, FINISHED))
        assert queued.view.state is RunState.QUEUED
        await supervisor.wait_adopted()
        assert run.view.progress is not None
        assert run.view.progress.global_step == LONG
        await wait_state(supervisor, run, RunState.LOST)  # there never was a runner
        await wait_state(supervisor, queued, RunState.COMPLETED)


async def test_a_queued_run_starts_when_room_has_come_back(lab: Lab) -> None:
    clock = lab.clock = StillClock()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with lab.daemon() as supervisor:
        first = await supervisor.start_now(spec(READY, step(1), ["await_command"], FINISHED))
        await wait_until(supervisor, lambda: first.view.progress is not None)
        queued = supervisor.submit(spec(READY, FINISHED))
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))  # as on a full disk, no file of this process grows any more
            await first.send("save", settle_s=0)
            await wait_state(supervisor, first, RunState.COMPLETED)
            await first.wait_let_go()
            assert queued.view.state is RunState.QUEUED
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await clock.wait_sleeper(LOOK_S)
        clock.advance(LOOK_S)
        await wait_state(supervisor, queued, RunState.COMPLETED)
