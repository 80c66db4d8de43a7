"""Runs that fail are started again as their policy says: from their own backup, in their own place, and not for ever."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from daemon.runs.policies import RestartPolicy
from daemon.runs.spot import Spot
from daemon.runs.states import RunState
from daemon.supervisor.adoption import identities
from daemon.supervisor.live import LiveRun
from daemon.supervisor.supervisor import Supervisor
from tests.supervisor.clock import StillClock
from tests.supervisor.conftest import FINISHED, READY, Lab, attempts, spec, step, wait_state, wait_until

CRASH = ["signal", signal.SIGSEGV]
HOLD = ["await_command"]
SOON = RestartPolicy(on=("crash", "lost"), max_restarts=2, backoff_s=0.0)
LATER = RestartPolicy(on=("crash",), backoff_s=60.0, backoff_max_s=600.0)


def make_backup(folder: Path, name: str) -> str:
    backup = folder / "workspace" / "backup" / name
    backup.mkdir(parents=True)
    (backup / "meta.json").write_text(json.dumps({"train_progress": {"global_step": 1}}))
    return str(backup)


def told_backup(path: str) -> list[Any]:
    return ["emit", {"type": "backup", "path": path, "trigger": "interval", "global_step": 1}]


def ready(folder: Path) -> list[Any]:
    return ["emit", {
        "type": "trainer.ready", "workspace_dir": str(folder / "workspace"), "samples_dir": str(folder / "workspace" / "samples"),
        "capabilities": ["pause_hold"],
    }]  # fmt: skip


def kinds(run: LiveRun) -> list[str]:
    return [entry.record["type"] for entry in run.history.read_from(Spot(), limit=10_000)]


async def wait_waiting(supervisor: Supervisor, run: LiveRun, clock: StillClock) -> float:
    """The seconds that the restart has been put off for."""
    await wait_state(supervisor, run, RunState.WAITING_RESTART)
    return await clock.wait_sleeper(at_least=11)


async def test_a_crashed_run_goes_on_from_its_last_backup_as_the_same_run(lab: Lab) -> None:
    backup = make_backup(lab.state_dir, "first")
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(attempts([READY, step(1), told_backup(backup), CRASH], [READY, step(2), FINISHED], restart=SOON))
        await wait_state(supervisor, run, RunState.COMPLETED)
        assert (run.view.attempt, run.view.restarts, run.view.continued_from) == (2, 1, backup)
        assert [found.run_id for found in supervisor.runs()] == [run.run_id]
        assert kinds(run).count("run.starting") == 2
        assert (run.view.cause, run.view.error) == ("completed", None)


async def test_a_run_that_waits_for_its_restart_keeps_its_place_until_its_time(lab: Lab) -> None:
    lab.clock = clock = StillClock()
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(attempts([READY, CRASH], [READY, FINISHED], restart=LATER))
        queued = supervisor.submit(spec(READY, FINISHED))
        assert await wait_waiting(supervisor, run, clock) > 0
        assert supervisor.working() is run
        assert queued.view.state is RunState.QUEUED
        clock.advance(10)
        assert run.view.state is RunState.WAITING_RESTART
        clock.advance(600)
        await wait_state(supervisor, queued, RunState.COMPLETED)
        assert (run.view.state, run.view.attempt) == (RunState.COMPLETED, 2)
        assert kinds(queued).count("run.starting") == 1


async def test_a_stop_cancels_the_restart_and_gives_the_place_away(lab: Lab) -> None:
    lab.clock = clock = StillClock()
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(attempts([READY, CRASH], [READY, FINISHED], restart=LATER))
        queued = supervisor.submit(spec(READY, FINISHED))
        await wait_waiting(supervisor, run, clock)
        await supervisor.stop(supervisor.working())
        await wait_state(supervisor, queued, RunState.COMPLETED)
        clock.advance(1000)
        assert (run.view.state, run.view.attempt) == (RunState.STOPPED, 1)


async def test_another_daemon_waits_for_the_rest_of_the_time_only(lab: Lab) -> None:
    lab.clock = clock = StillClock()
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(attempts([READY, CRASH], [READY, FINISHED], restart=LATER))
        await wait_waiting(supervisor, run, clock)
        at = run.view.restart_at
    assert at is not None
    clock.set_wall(at - 20)
    async with lab.daemon() as supervisor:
        run = supervisor.run(run.run_id)
        assert (run.view.state, run.view.restart_at) == (RunState.WAITING_RESTART, at)
        assert supervisor.working() is run
        assert await clock.wait_sleeper(at_least=11) == pytest.approx(20)
        clock.advance(20)
        await wait_state(supervisor, run, RunState.COMPLETED)


async def test_a_clock_that_was_set_back_an_hour_delays_by_the_longest_wait_at_most(lab: Lab) -> None:
    lab.clock = clock = StillClock()
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(attempts([READY, CRASH], [READY, FINISHED], restart=LATER))
        await wait_waiting(supervisor, run, clock)
        assert run.view.restart_at is not None
        clock.set_wall(run.view.restart_at - 3600)
    async with lab.daemon() as supervisor:
        assert await clock.wait_sleeper(at_least=11) == LATER.backoff_max_s
        clock.advance(LATER.backoff_max_s)
        await wait_state(supervisor, supervisor.run(run.run_id), RunState.COMPLETED)


async def test_after_so_many_restarts_a_run_has_failed_and_says_that_it_was_given_up(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(attempts([READY, CRASH], restart=SOON))
        await wait_state(supervisor, run, RunState.FAILED)
        assert (run.view.attempt, run.view.cause) == (3, "crash")
        assert run.view.error is not None
        assert "given up after 2 restarts" in run.view.error
        await wait_until(supervisor, lambda: run.is_settled)


async def test_a_run_that_was_asked_to_stop_is_not_restarted_however_it_ends(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(attempts([READY, HOLD, CRASH], restart=SOON))
        await wait_state(supervisor, run, RunState.TRAINING)
        await supervisor.stop(run)
        await wait_state(supervisor, run, RunState.FAILED)
        assert (run.view.attempt, run.view.cause) == (1, "crash")


async def test_a_cause_that_the_policy_does_not_name_is_an_end(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(attempts([READY, ["exit", 3]], restart=SOON))
        await wait_state(supervisor, run, RunState.FAILED)
        assert (run.view.attempt, run.view.cause) == (1, "unknown")


@pytest.mark.parametrize("daemon_is_there", [True, False])
async def test_a_lost_run_is_restarted_when_its_trainer_is_gone_as_well(lab: Lab, daemon_is_there: bool) -> None:
    untold = make_backup(lab.state_dir, "untold")
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(attempts([ready(lab.state_dir), READY, ["hang"]], [READY, FINISHED], restart=SOON))
        await wait_state(supervisor, run, RunState.TRAINING)
        queued = supervisor.submit(spec(FINISHED))
        runner, trainer = identities(run.stored.directory.attempt(1))
        assert runner is not None
        assert trainer is not None
        runner.send_signal(signal.SIGKILL)
        await wait_state(supervisor, run, RunState.LOST)
        if daemon_is_there:
            trainer.send_signal(signal.SIGKILL)
            await wait_state(supervisor, run, RunState.COMPLETED)
    if not daemon_is_there:
        trainer.send_signal(signal.SIGKILL)
    async with lab.daemon() as supervisor:
        run, queued = supervisor.run(run.run_id), supervisor.run(queued.run_id)
        await wait_until(supervisor, lambda: run.view.state is queued.view.state is RunState.COMPLETED)
        assert run.view.attempt == 2
        starts = [entry.record for entry in run.history.read_from(Spot(), 1000) if entry.record["type"] == "run.starting"]
        assert starts[1]["continue_from"] == untold


async def test_a_restart_that_was_cut_short_still_goes_on_from_its_backup(lab: Lab) -> None:
    backup = make_backup(lab.state_dir, "first")
    lab.clock = clock = StillClock()
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(attempts([READY, told_backup(backup), CRASH], [READY, FINISHED], restart=LATER))
        await wait_waiting(supervisor, run, clock)
        run.reserve(backup)
    async with lab.daemon() as supervisor:
        run = supervisor.run(run.run_id)
        await wait_state(supervisor, run, RunState.COMPLETED)
        assert (run.view.attempt, run.view.continued_from) == (3, backup)
