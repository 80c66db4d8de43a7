"""A supervisor over real runners, whose trainers do what the run's config says."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.runs.policies import RestartPolicy, StallPolicy
from daemon.runs.retention import Retention
from daemon.runs.states import RunState
from daemon.supervisor.adoption import identities
from daemon.supervisor.clock import Clock
from daemon.supervisor.launcher import DirectLauncher
from daemon.supervisor.live import LiveRun
from daemon.supervisor.plan import StopPeriods, Trainer
from daemon.supervisor.store import RunSpec, RunStore
from daemon.supervisor.supervisor import Policy, Supervisor
from ipc.run_directory import RunDirectory
from tests.runner.lab import SCRIPT

DEADLINE_S = 30.0
FINISHED = ["emit", {"type": "trainer.finished", "outcome": "completed", "message": "done", "global_step": 3}]
READY = ["emit", {"type": "phase", "phase": "training"}]


def step(number: int) -> list[Any]:
    return ["emit", {
        "type": "step", "global_step": number, "epoch": 0, "epoch_step": number, "epoch_sample": number, "max_step": 100,
        "max_epoch": 1, "scalars": {"loss/train_step": 1 / number},
    }]  # fmt: skip


class Lab:
    """Supervisors on one state directory, one after the other, as daemons are."""

    def __init__(self, state_dir: Path, archive: Path, places: int = 1) -> None:
        self.state_dir = state_dir
        self._archive = archive
        self._places = places
        self.clock: Clock | None = None
        self.retention = Retention()
        self.waits = True

    @contextlib.asynccontextmanager
    async def daemon(self) -> AsyncIterator[Supervisor]:
        trainer = Trainer("scripted", Path(sys.executable), self.state_dir)
        supervisor = Supervisor(
            RunStore(self.state_dir), DirectLauncher(self._archive), SCRIPT, {"scripted": lambda: trainer},
            Policy(self._places, StopPeriods(20.0, 20.0), retention=self.retention), self.clock,
        )  # fmt: skip
        async with supervisor.running():
            if self.waits:
                await supervisor.wait_adopted()
            yield supervisor

    def attempt_processes(self) -> Iterator[Any]:
        for path in (self.state_dir / "runs").glob("*"):
            for attempt in RunDirectory(path).attempts():
                yield from filter(None, identities(attempt))


def spec(*script: list[Any]) -> RunSpec:
    return RunSpec("scripted", {"script": list(script)})


def attempts(*scripts: list[Any], restart: RestartPolicy | None = None, stall: StallPolicy | None = None) -> RunSpec:
    """A run whose first attempt does the first of *scripts*, and so on; the last one goes for all further attempts."""
    return RunSpec("scripted", {"scripts": list(scripts)}, restart=restart or RestartPolicy(), stall=stall or StallPolicy())


async def wait_until(supervisor: Supervisor, condition: Callable[[], bool]) -> None:
    """Return when *condition* holds; it is looked at whenever a history has grown."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            turn = supervisor.bell.turn
            if condition():
                return
            await turn.wait()


async def wait_state(supervisor: Supervisor, run: LiveRun, *states: RunState) -> None:
    await wait_until(supervisor, lambda: run.view.state in states)


@pytest.fixture
def lab(tmp_path: Path, archive: Path) -> Iterator[Lab]:
    made = Lab(tmp_path, archive)
    yield made
    for identity in made.attempt_processes():
        identity.send_signal(signal.SIGKILL)
