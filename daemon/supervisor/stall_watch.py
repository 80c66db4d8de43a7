"""The stall watch at work: looks at every live run, tells of those that make no step, and acts where their policy says so."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import assert_never

from daemon.errors import DaemonError
from daemon.runs.policies import STALL_COMMAND
from daemon.runs.stall import Quiet, is_stalled, look
from daemon.supervisor.clock import Clock
from daemon.supervisor.evidence import trainer_evidence
from daemon.supervisor.live import LiveRun

_LOG = logging.getLogger(__name__)
LOOK_S = 5.0


class StallWatch:
    """Counts from the first look on: a restarted daemon does not know how long it has been quiet, and waits the whole time anew."""

    def __init__(self, runs: Callable[[], Iterable[LiveRun]], clock: Clock) -> None:
        self._runs = runs
        self._clock = clock
        self._looked = clock.monotonic()
        self._quiet: dict[str, Quiet] = {}

    async def look(self) -> None:
        """Look at all live runs once; to be called every `LOOK_S` seconds."""
        now = self._clock.monotonic()
        elapsed_s, self._looked = now - self._looked, now
        live = {run.run_id: run for run in self._runs() if run.view.is_live}
        before, self._quiet = self._quiet, {}
        stalled: list[tuple[LiveRun, float]] = []
        for run_id, run in live.items():
            quiet = look(before.get(run_id, Quiet()), run.view, elapsed_s, 2 * LOOK_S)
            if is_stalled(quiet, run.view):
                stalled.append((run, quiet.seconds))
                quiet = Quiet(quiet.mark)  # an action that came to nothing is tried again after as long
            self._quiet[run_id] = quiet
        await asyncio.gather(*(self._meet(run, seconds) for run, seconds in stalled))

    async def _meet(self, run: LiveRun, quiet_s: float) -> None:
        policy, view = run.view.stall, run.view
        if view.stalled_since is None:
            evidence = await asyncio.to_thread(trainer_evidence, run.directory.attempt(view.attempt))
            step = view.progress.global_step if view.progress else None
            run.record("run.stalled", {
                "attempt": view.attempt, "since": round(self._clock.now() - quiet_s, 3), "after_s": policy.after_s, "action": policy.action,
                "evidence": {"global_step": step, "status_text": view.status_text, **evidence},
            })  # fmt: skip
        try:
            match policy.action:
                case "tell":
                    return
                case "stop":
                    await run.send("stop", settle_s=0)
                case "restart":
                    await run.send("stop", {"force": True}, settle_s=0, sender=STALL_COMMAND)
                case never:
                    assert_never(never)
        except DaemonError as error:
            _LOG.error("run %s has stalled and could not be stopped: %s", run.run_id, error)
