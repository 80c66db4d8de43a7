"""Starting runners. A launcher returns when the runner is at work and findable on disk, or says why it is not."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Protocol

from daemon.errors import UnavailableError
from ipc.run_directory import AttemptDirectory

_START_S = 30.0


class Launcher(Protocol):
    """How a runner comes to be, outside the daemon's own life."""

    name: str
    """What run.json calls it."""

    async def launch(self, attempt: AttemptDirectory) -> None:
        """Start the runner of *attempt*, whose launch.json is there.

        Raises:
            UnavailableError: no runner is at work for it, and why (code `start_failed`).
        """


class DirectLauncher:
    """A child of ours that forks the runner away and ends: the runner belongs to init, and to no terminal."""

    name = "direct"

    def __init__(self, archive: Path) -> None:
        """*archive* is the packed runner."""
        self._archive = archive

    async def launch(self, attempt: AttemptDirectory) -> None:
        # The base interpreter, isolated: a broken venv must not be able to silence the runner.
        python = getattr(sys, "_base_executable", None) or sys.executable
        tmp = attempt.run.tmp
        starter = await asyncio.create_subprocess_exec(
            python, "-I", "-S", str(self._archive), "runner", str(attempt.path),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            env=clean_environment() | {"TMPDIR": str(tmp)}, start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_START_S):
                _, stderr = await starter.communicate()
        except TimeoutError:
            starter.kill()
            await starter.wait()
            raise UnavailableError(
                f"the runner did not start within {_START_S:g} s; see {attempt.runner_log}", code="start_failed"
            ) from None
        if starter.returncode != 0:
            reason = stderr.decode(errors="replace").strip() or f"exit code {starter.returncode}"
            raise UnavailableError(f"the runner did not start: {reason}", code="start_failed", log=str(attempt.runner_log))


def clean_environment() -> dict[str, str]:
    """Our environment without what is meant for us alone: our settings, and systemd's notification and watchdog."""
    private = ("ONETRAINERD_", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "CREDENTIALS_DIRECTORY", "INVOCATION_ID", "JOURNAL_STREAM")
    return {key: value for key, value in os.environ.items() if not key.startswith(private)}
