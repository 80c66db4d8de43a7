"""The machine goes down: runners that no unit of their own stops are told to, and given their time. Nothing of this at a mere restart."""

import asyncio
import logging
import signal
from collections.abc import Iterable

from daemon.supervisor.adoption import identities
from daemon.supervisor.live import LiveRun

_LOG = logging.getLogger(__name__)


async def see_off(runs: Iterable[LiveRun], deadline_s: float) -> None:
    """SIGTERM to the runners of the direct launcher, which climb their ladder with a backup on the way; return when all have ended.

    Those of the systemd launcher are stopped by systemd itself. A trainer whose runner is dead is waited for too: it backs up by itself.
    """
    ours = [run for run in runs if run.stored.launcher == "direct" and run.is_held]
    for run in ours:
        runner, _ = identities(run.directory.attempt(run.view.attempt))
        if runner is not None and runner.send_signal(signal.SIGTERM):
            _LOG.info("run %s is told to back up and stop: the machine goes down", run.run_id)
    try:
        async with asyncio.timeout(deadline_s):
            await asyncio.gather(*(run.wait_let_go() for run in ours))
    except TimeoutError:
        late = [run.run_id for run in ours if run.is_held]
        _LOG.error("the machine goes down, and after %g s these runs have not ended: %s", deadline_s, ", ".join(late))
