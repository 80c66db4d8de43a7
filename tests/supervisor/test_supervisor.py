"""The supervisor over real runners: one wins, restarts lose nothing, every death is noticed and told as it was."""

import asyncio
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from daemon.errors import ConflictError, NotFoundError, UnavailableError
from daemon.runs.spot import Spot
from daemon.runs.states import RunState
from daemon.supervisor.adoption import identities
from daemon.supervisor.live import LiveRun
from ipc.messages import Command, encode_command
from ipc.pipes import send_line
from ipc.run_directory import AttemptDirectory
from tests.supervisor.conftest import FINISHED, READY, Lab, spec, step, wait_state, wait_until

HOLD = ["await_command"]
DONE = ["answer", "done"]


def attempt_of(run: LiveRun) -> AttemptDirectory:
    return run.stored.directory.attempt(run.view.attempt)


def state_of(run: LiveRun) -> str:
    return run.view.state.value


def records_of(run: LiveRun) -> list[tuple[str, Spot]]:
    return [(entry.record["type"], entry.spot) for entry in run.history.read_from(Spot(), limit=10_000)]


async def test_a_run_goes_from_start_to_completed_and_its_history_says_so(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(spec(READY, step(1), step(2), FINISHED))
        await wait_state(supervisor, run, RunState.COMPLETED)
        assert run.view.progress is not None
        assert run.view.progress.global_step == 2
        assert [kind for kind, _ in records_of(run)] == [
            "run.queued", "run.starting", "runner.started", "trainer.spawned", "phase", "step", "step", "trainer.finished",
            "trainer.exited", "runner.exited",
        ]  # fmt: skip


async def test_of_eight_starts_at_the_same_moment_exactly_one_wins(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        results = await asyncio.gather(*(supervisor.start_now(spec(READY, HOLD, DONE, FINISHED)) for _ in range(8)), return_exceptions=True)
        won = [result for result in results if isinstance(result, LiveRun)]
        assert len(won) == 1
        assert [error.code for error in results if isinstance(error, ConflictError)] == ["run_active"] * 7
        assert len(supervisor.runs()) == 1


async def test_queued_runs_start_one_after_the_other_in_order(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        runs = [supervisor.submit(spec(READY, FINISHED)) for _ in range(3)]
        await wait_until(supervisor, lambda: all(run.view.state is RunState.COMPLETED for run in runs))
        ends = [(run.view.started, run.view.ended) for run in runs]
        assert ends == sorted(ends)
        assert all(ends[i][1] <= ends[i + 1][0] for i in range(2))  # type: ignore[operator]  # ended runs have both


async def test_a_queued_run_can_be_cancelled_and_an_ended_one_cannot(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        first = await supervisor.start_now(spec(READY, HOLD, DONE, FINISHED))
        queued = supervisor.submit(spec(FINISHED))
        assert state_of(queued) == "queued"
        await supervisor.stop(queued)
        assert state_of(queued) == "stopped"
        with pytest.raises(ConflictError, match="ended already"):
            await supervisor.stop(queued)
        await first.send("save", settle_s=0)
        await wait_state(supervisor, first, RunState.COMPLETED)


async def test_commands_are_answered_by_the_trainers_own_word(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(spec(READY, HOLD, ["answer", "done"], HOLD, ["answer", "failed"], HOLD, DONE, FINISHED))
        done = await run.send("backup", {"note": "é" * 5000}, settle_s=10)
        assert done is not None
        assert done["result"] == {"note": "é" * 5000}
        with pytest.raises(ConflictError, match="save"):
            await run.send("save", settle_s=10)
        await run.send("sample", settle_s=0)
        await wait_state(supervisor, run, RunState.COMPLETED)
        with pytest.raises(ConflictError, match="completed"):
            await run.send("save")


async def test_a_restarted_daemon_adopts_the_run_and_comes_to_the_same_history(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(spec(READY, step(1), HOLD, ["answer", "done"], step(2), HOLD, DONE, FINISHED))
        await wait_until(supervisor, lambda: run.view.progress is not None)
        before, view = records_of(run), run.view
    shutil.copytree(lab.state_dir / "runs", lab.state_dir / "copy", ignore=lambda _, names: [n for n in names if n.endswith(".pipe")])
    async with lab.daemon() as supervisor:
        adopted = supervisor.run(run.run_id)
        assert supervisor.working() is adopted
        assert records_of(adopted)[: len(before)] == before
        assert adopted.view.progress == view.progress
        await adopted.send("save", settle_s=10)
        await wait_until(supervisor, lambda: adopted.view.progress is not None and adopted.view.progress.global_step == 2)
        await adopted.send("save", settle_s=0)
        await wait_state(supervisor, adopted, RunState.COMPLETED)
        whole = records_of(adopted)
    async with lab.daemon() as supervisor:
        assert records_of(supervisor.run(run.run_id)) == whole
        assert supervisor.current is None


async def test_a_checkpoint_that_was_thrown_away_changes_nothing(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(spec(READY, ["flood", 5000], step(5001), FINISHED))
        await wait_state(supervisor, run, RunState.COMPLETED)
        whole, view = records_of(run), run.view
    run.stored.directory.checkpoints.unlink()
    async with lab.daemon() as supervisor:
        again = supervisor.run(run.run_id)
        assert (records_of(again), again.view) == (whole, view)
        assert [spot for _, spot in whole] == sorted({spot for _, spot in whole})
        for _, spot in whole[:: len(whole) // 7]:
            assert [entry.spot for entry in again.history.read_from(spot, 10)] == [other for _, other in whole if other > spot][:10]


async def ended_alone(lab: Lab, *script: Any) -> LiveRun:
    """A run that goes on with *script* when its daemon has gone, and its end."""
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(spec(READY, HOLD, *script))
        await wait_state(supervisor, run, RunState.TRAINING)
        runner, _ = identities(attempt_of(run))
        assert runner is not None
        pidfd = runner.open_pidfd()
        assert pidfd is not None
        send_line(attempt_of(run).control_pipe, encode_command(Command("c1", "save", {})))
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(pidfd, gone.set)
    async with asyncio.timeout(30):
        await gone.wait()
    loop.remove_reader(pidfd)
    return run


@pytest.mark.parametrize(
    ("script", "state", "cause", "detail"),
    [
        ([["exit", 0]], RunState.FAILED, "unknown", ("code", 0)),
        ([["exit", 3]], RunState.FAILED, "unknown", ("code", 3)),
        ([["signal", signal.SIGSEGV]], RunState.FAILED, "crash", ("signal", "SIGSEGV")),
        ([["signal", signal.SIGKILL]], RunState.FAILED, "killed", ("signal", "SIGKILL")),
        ([FINISHED], RunState.COMPLETED, "completed", ("code", 0)),
    ],
)
async def test_an_end_while_no_daemon_was_there_is_told_as_it_was(
    lab: Lab, script: list[list[object]], state: RunState, cause: str, detail: tuple[str, object]
) -> None:
    run = await ended_alone(lab, *script)
    async with lab.daemon() as supervisor:
        found = supervisor.run(run.run_id)
        await wait_state(supervisor, found, state)
        assert found.view.cause == cause
        assert found.view.exit is not None
        assert found.view.exit[detail[0]] == detail[1]


async def test_an_end_that_only_the_exit_record_tells_is_known_before_anybody_is_answered(lab: Lab) -> None:
    run = await ended_alone(lab, FINISHED)
    segment = attempt_of(run).events / "000000000001.jsonl"
    segment.write_bytes(segment.read_bytes()[:-5])
    async with lab.daemon() as supervisor:
        assert supervisor.run(run.run_id).view.state is RunState.COMPLETED


async def test_a_killed_runner_means_a_lost_run_and_its_living_trainer_keeps_the_place(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(spec(READY, ["hang"]))
        await wait_state(supervisor, run, RunState.TRAINING)
        runner, trainer = identities(attempt_of(run))
        assert runner is not None
        assert trainer is not None
        runner.send_signal(signal.SIGKILL)
        await wait_state(supervisor, run, RunState.LOST)
        assert run.view.error is not None
        with pytest.raises(ConflictError, match="trainer still lives"):
            await supervisor.start_now(spec(FINISHED))
        queued = supervisor.submit(spec(FINISHED))
        assert queued.view.state is RunState.QUEUED
    async with lab.daemon() as supervisor:
        lost, queued = supervisor.run(run.run_id), supervisor.run(queued.run_id)
        assert (lost.view.state, queued.view.state) == (RunState.LOST, RunState.QUEUED)
        trainer.send_signal(signal.SIGKILL)
        await wait_state(supervisor, queued, RunState.COMPLETED)
        assert lost.view.state is RunState.LOST


@pytest.mark.parametrize("is_orphan", [False, True])
async def test_a_copy_of_a_state_directory_leaves_the_runs_of_the_original_alone(lab: Lab, archive: Path, is_orphan: bool) -> None:
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(spec(READY, ["hang"]))
        await wait_state(supervisor, run, RunState.TRAINING)
        runner, trainer = identities(attempt_of(run))
        assert runner is not None
        assert trainer is not None
        if is_orphan:
            runner.send_signal(signal.SIGKILL)
            await wait_state(supervisor, run, RunState.LOST)
        copy = lab.state_dir / "copy"
        shutil.copytree(lab.state_dir / "runs", copy / "runs", ignore=lambda _, names: [n for n in names if n.endswith(".pipe")])
        async with Lab(copy, archive).daemon() as other:
            with pytest.raises(NotFoundError):
                other.run(run.run_id)
            assert other.current is None
        assert trainer.is_alive()
        moved = lab.state_dir.parent / "moved"
    shutil.rmtree(copy)
    lab.state_dir.rename(moved)
    async with Lab(moved, archive).daemon() as supervisor:  # a folder that was moved is no copy
        adopted = supervisor.run(run.run_id)
        assert adopted.occupies_a_place
        await supervisor.stop(adopted, force=True)
        await wait_until(supervisor, lambda: not adopted.occupies_a_place)
    moved.rename(lab.state_dir)


async def test_a_start_that_was_cut_short_is_begun_again_and_never_twice(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(spec(READY, HOLD, DONE, FINISHED))
        await wait_state(supervisor, run, RunState.TRAINING)
        supervisor.submit(spec(READY, FINISHED))
    cut = run.stored.directory.path.parent
    queued = next(path for path in cut.iterdir() if path.name > run.run_id)
    reserved = json.dumps({"v": 1, "seq": 2, "ts": 1.0, "type": "run.starting", "after": [0, 0], "attempt": 1, "continue_from": None})
    with (queued / "daemon" / "000000000001.jsonl").open("a") as journal:
        journal.write(reserved + "\n")
    async with lab.daemon() as supervisor:
        again = supervisor.run(queued.name)
        assert again.view.state is RunState.QUEUED
        await supervisor.run(run.run_id).send("save", settle_s=0)
        await wait_state(supervisor, again, RunState.COMPLETED)
        assert again.view.attempt == 2


async def test_a_stop_in_the_moment_of_the_start_waits_for_the_runner_and_is_heard(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        run = supervisor.submit(spec(READY, HOLD, ["emit", {"type": "trainer.finished", "outcome": "stopped", "message": "stopped"}]))
        assert state_of(run) == "starting"
        await supervisor.stop(run)
        await wait_state(supervisor, run, RunState.STOPPED)


async def test_a_run_that_cannot_start_has_failed_and_says_why(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        (lab.state_dir / "runs").chmod(0o700)
        supervisor._launcher = Broken()
        with pytest.raises(UnavailableError, match="no runner today"):
            await supervisor.start_now(spec(FINISHED))
        view = supervisor.runs()[0].view
        assert (view.state, view.cause, view.error) == (RunState.FAILED, "start_failed", "no runner today")
        with pytest.raises(NotFoundError, match="GET /runs"):
            supervisor.run("000009-ffff")


class Broken:
    """A launcher whose runners never come."""

    name = "direct"

    async def launch(self, attempt: AttemptDirectory) -> None:
        raise UnavailableError("no runner today", code="start_failed")


async def test_a_run_whose_folder_was_damaged_after_its_end_is_never_trained_again(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        runs = [await supervisor.start_now(spec(READY, step(1), FINISHED))]
        await wait_until(supervisor, lambda: runs[0].is_settled)
        for _ in range(2):
            runs.append(await supervisor.start_now(spec(READY, step(1), FINISHED)))
            await wait_until(supervisor, lambda: runs[-1].is_settled)
    for run in runs:
        run.directory.checkpoints.unlink()
    shutil.rmtree(runs[0].directory.path / "attempts")
    segment = runs[1].directory.daemon / "000000000001.jsonl"
    segment.write_bytes(b"\0" * segment.stat().st_size)
    shutil.rmtree(runs[2].directory.daemon)
    async with lab.daemon() as supervisor:
        assert [supervisor.run(run.run_id).view.state.value for run in runs] == ["completed", "lost", "lost"]
        fresh = await supervisor.start_now(spec(READY, FINISHED))
        await wait_state(supervisor, fresh, RunState.COMPLETED)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", '{"v": 1, "id": "x"}'),
        ("run.json", '{"v":' + "[" * 100_000),
        ("checkpoints.jsonl", '[["a","b","c"],{}]\n[[],{},null]\n'),
        ("daemon/000000000001.jsonl", '{"v":1,"seq":1,"ts":1.0,"type":"run.starting","after":["x",{}],"attempt":"y"}\n'),
        ("daemon/000000000001.jsonl", None),
        ("checkpoints.jsonl", None),
    ],
)
async def test_one_odd_run_keeps_no_daemon_from_starting(lab: Lab, name: str, content: str | None) -> None:
    async with lab.daemon() as supervisor:
        odd = await supervisor.start_now(spec(READY, FINISHED))
        await wait_until(supervisor, lambda: odd.is_settled)
        good = await supervisor.start_now(spec(READY, FINISHED))
        await wait_until(supervisor, lambda: good.is_settled)
    path = odd.directory.path / name
    path.unlink(missing_ok=True)
    if content is None:
        os.mkfifo(path)
    else:
        path.write_text(content)
    async with asyncio.timeout(20), lab.daemon() as supervisor:
        assert state_of(supervisor.run(good.run_id)) == "completed"
        await wait_state(supervisor, await supervisor.start_now(spec(READY, FINISHED)), RunState.COMPLETED)


async def test_a_lost_runs_trainer_can_be_ended_by_a_forced_stop(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(spec(READY, ["ignore_term"], ["hang"]))
        await wait_state(supervisor, run, RunState.TRAINING)
        runner, _ = identities(attempt_of(run))
        assert runner is not None
        runner.send_signal(signal.SIGKILL)
        await wait_state(supervisor, run, RunState.LOST)
        await supervisor.stop(run)
        await supervisor.stop(run, force=True)
        await wait_until(supervisor, lambda: run.is_settled)
        assert not run.occupies_a_place


async def test_a_released_run_is_current_again_for_the_next_daemon(lab: Lab) -> None:
    released = ["emit", {"type": "trainer.finished", "outcome": "released", "message": "let go"}]
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(spec(READY, released))
        await wait_state(supervisor, run, RunState.RELEASED)
        await run.wait_let_go()
    async with lab.daemon() as supervisor:
        assert supervisor.working().run_id == run.run_id
