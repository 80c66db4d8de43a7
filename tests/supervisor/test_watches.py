"""The stall watch and the disk guard over real runners; time and room are the tests' own."""

import signal
from pathlib import Path
from typing import Any

import pytest

from daemon.runs.disk import DiskMarks, Room
from daemon.runs.fold import Record
from daemon.runs.policies import RestartPolicy, StallPolicy
from daemon.runs.spot import Spot
from daemon.runs.states import RunState
from daemon.supervisor.adoption import identities
from daemon.supervisor.disk_guard import DiskGuard
from daemon.supervisor.live import LiveRun
from daemon.supervisor.stall_watch import LOOK_S, StallWatch
from daemon.supervisor.store import RunSpec
from daemon.supervisor.supervisor import Supervisor
from tests.supervisor.clock import StillClock
from tests.supervisor.conftest import FINISHED, READY, Lab, attempts, step, wait_state, wait_until
from tests.supervisor.test_restarts import ready

HOLD = ["await_command"]
MB = 1 << 20
MARKS = DiskMarks(reserve_bytes=0, low_bytes=20 * MB, hold_bytes=10 * MB)


def records(run: LiveRun, kind: str) -> list[Record]:
    return [entry.record for entry in run.history.read_from(Spot(), 10_000) if entry.record["type"] == kind]


@pytest.fixture(autouse=True)
def still(lab: Lab) -> None:
    """The supervisor's own watches never look: those of the tests do."""
    lab.clock = StillClock()


class Watch:
    """A stall watch whose clock goes on by its own looks."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.clock = StillClock()
        self._watch = StallWatch(supervisor.runs, self.clock)

    async def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds / LOOK_S) + 1):
            self.clock.advance(LOOK_S)
            await self._watch.look()


async def test_a_stall_is_told_once_with_its_evidence_and_ends_with_the_next_step(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        watch = Watch(supervisor)
        script = [READY, step(1), ["print", "epoch: 1%\rstep: 2%"], HOLD, ["answer", "done"], step(2), HOLD, FINISHED]
        run = await supervisor.start_now(attempts(script, stall=StallPolicy(after_s=60)))
        await wait_until(supervisor, lambda: run.view.progress is not None)
        await watch.pass_time(59)
        assert not records(run, "run.stalled")
        await watch.pass_time(200)
        [stalled] = records(run, "run.stalled")
        assert (stalled["after_s"], stalled["action"], stalled["evidence"]["global_step"]) == (60, "tell", 1)
        assert stalled["evidence"]["process_state"] in ("S", "R")  # it may just be falling asleep
        assert stalled["evidence"]["cpu_s"] >= 0
        assert run.view.stalled_since == stalled["since"]
        await run.send("backup", settle_s=10)
        await wait_until(supervisor, lambda: run.view.stalled_since is None)
        assert run.view.state is RunState.TRAINING
        await run.send("save", settle_s=0)
        await wait_state(supervisor, run, RunState.COMPLETED)


async def test_a_machine_that_slept_a_day_has_not_stalled(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        watch = Watch(supervisor)
        run = await supervisor.start_now(attempts([READY, step(1), HOLD, FINISHED], stall=StallPolicy(after_s=60)))
        await wait_until(supervisor, lambda: run.view.progress is not None)
        await watch.pass_time(20)
        watch.clock.advance(86_400)
        await watch.pass_time(20)
        assert not records(run, "run.stalled")
        await run.send("save", settle_s=0)
        await wait_state(supervisor, run, RunState.COMPLETED)


async def test_a_stalled_run_is_killed_and_restarted_where_its_policy_says_so(lab: Lab) -> None:
    policy, stall = RestartPolicy(on=("stalled",), backoff_s=0, backoff_max_s=0), StallPolicy(after_s=30, action="restart")
    async with lab.daemon() as supervisor:
        watch = Watch(supervisor)
        run = await supervisor.start_now(attempts([READY, ["hang"]], [READY, FINISHED], restart=policy, stall=stall))
        await wait_state(supervisor, run, RunState.TRAINING)
        await watch.pass_time(35)
        await wait_state(supervisor, run, RunState.COMPLETED)
        assert (run.view.attempt, run.view.restarts) == (2, 1)


async def test_a_kill_of_a_stalled_run_without_a_restart_policy_is_a_failure_that_says_so(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        watch = Watch(supervisor)
        run = await supervisor.start_now(attempts([READY, ["hang"]], stall=StallPolicy(after_s=30, action="restart")))
        await wait_state(supervisor, run, RunState.TRAINING)
        await watch.pass_time(35)
        await wait_state(supervisor, run, RunState.FAILED)
        assert run.view.cause == "stalled"


async def test_a_stalled_run_is_stopped_by_the_ladder_where_its_policy_says_so(lab: Lab) -> None:
    stopped: Any = ["emit", {"type": "trainer.finished", "outcome": "stopped", "message": "stopped at step 1", "global_step": 1}]
    async with lab.daemon() as supervisor:
        watch = Watch(supervisor)
        run = await supervisor.start_now(attempts([READY, HOLD, stopped], stall=StallPolicy(after_s=30, action="stop")))
        await wait_state(supervisor, run, RunState.TRAINING)
        await watch.pass_time(35)
        await wait_state(supervisor, run, RunState.STOPPED)
        assert run.view.error == "stopped by the stall watch: stopped at step 1"
        assert records(run, "stop.grace")


class Disk:
    """File systems of 10 GB with *free* bytes on the workspace's, and a guard that looks at them."""

    def __init__(self, supervisor: Supervisor, state_dir: Path) -> None:
        self.free = self.free_of_state = 1000 * MB
        self.state_dir = state_dir
        self.guard = DiskGuard(supervisor.runs, state_dir, MARKS, self._ask)

    def _ask(self, path: Path, may_hold: bool) -> Room:
        return Room(str(path), 10_000 * MB, self.free_of_state if path == self.state_dir else self.free, may_hold)

    async def look(self, free: int) -> None:
        self.free = free
        await self.guard.look()


def holdable(lab: Lab) -> RunSpec:
    """Answers each command, and tells what it did: pause, resume, then the end."""
    paused, resumed = (["emit", {"type": kind, "mode": "hold"}] for kind in ("paused", "resumed"))
    return attempts([ready(lab.state_dir), READY, HOLD, ["answer", "done"], paused, HOLD, ["answer", "done"], resumed, HOLD, FINISHED])


async def test_a_full_disk_holds_the_run_and_room_lets_it_go_on(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        disk = Disk(supervisor, lab.state_dir)
        run = await supervisor.start_now(holdable(lab))
        await wait_state(supervisor, run, RunState.TRAINING)
        await disk.look(15 * MB)
        await disk.look(14 * MB)
        [low] = records(run, "disk.low")
        assert (low["path"], low["free"], disk.guard.level) == (str(lab.state_dir / "workspace"), 15 * MB, "low")
        await disk.look(5 * MB)
        await wait_state(supervisor, run, RunState.PAUSED)
        assert (run.view.disk, run.view.held_by_disk, disk.guard.level) == ("held", True, "held")
        await disk.look(4 * MB)
        assert [record["paused"] for record in records(run, "disk.hold")] == [True]
    async with lab.daemon() as supervisor:
        disk = Disk(supervisor, lab.state_dir)
        run = supervisor.run(run.run_id)
        assert run.view.state is RunState.PAUSED
        await disk.look(11 * MB)
        assert run.view.disk == "held"
        await disk.look(100 * MB)
        await wait_until(supervisor, lambda: run.view.state is not RunState.PAUSED)
        assert (run.view.disk, disk.guard.level, len(records(run, "disk.ok"))) == ("ok", "ok", 1)
        await run.send("save", settle_s=0)
        await wait_state(supervisor, run, RunState.COMPLETED)


async def test_a_run_that_a_client_paused_is_not_resumed_by_the_guard(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        disk = Disk(supervisor, lab.state_dir)
        run = await supervisor.start_now(holdable(lab))
        await wait_state(supervisor, run, RunState.TRAINING)
        await run.send("pause", settle_s=10)
        await wait_state(supervisor, run, RunState.PAUSED)
        await disk.look(5 * MB)
        await disk.look(100 * MB)
        assert [record["paused"] for record in records(run, "disk.hold")] == [False]
        assert (run.view.state.value, run.view.disk) == ("paused", "ok")
        await run.send("resume", settle_s=10)
        await run.send("save", settle_s=0)
        await wait_state(supervisor, run, RunState.COMPLETED)


async def test_a_run_that_cannot_be_held_is_told_so_and_a_full_state_directory_holds_nobody(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        disk = Disk(supervisor, lab.state_dir)
        run = await supervisor.start_now(attempts([READY, HOLD, FINISHED]))
        await wait_state(supervisor, run, RunState.TRAINING)
        disk.free_of_state = 0
        await disk.look(1000 * MB)
        assert (run.view.disk, disk.guard.level, run.view.state) == ("low", "low", RunState.TRAINING)
        _, trainer = identities(run.stored.directory.attempt(1))
        assert trainer is not None
        trainer.send_signal(signal.SIGKILL)
        await wait_state(supervisor, run, RunState.FAILED)
        await disk.look(1000 * MB)
        assert str(disk.guard.level) == "low"
        disk.free_of_state = 1000 * MB
        await disk.look(1000 * MB)
        assert str(disk.guard.level) == "ok"
