"""Starting runners by systemd: each in a unit of its own, asked for over the run socket, without D-Bus and without polkit."""

import asyncio
import logging
import os
import stat
from pathlib import Path
from typing import Literal

from daemon.errors import UnavailableError
from daemon.supervisor.launcher import DirectLauncher, Launcher
from ipc.errors import IpcError
from ipc.run_directory import AttemptDirectory
from ipc.run_socket import LINE_BYTES, StartAnswer, StartRequest

_LOG = logging.getLogger(__name__)
_START_S = 30.0
_LOOK = "`systemctl status onetrainer-run.socket` and `journalctl -u 'onetrainer-run@*'` say more (with --user for a user's units)"


class UnitLauncher:
    """Asks `onetrainer-run.socket`, which starts an instance of `onetrainer-run@.service` for each connection. The runner is its main
    process, and answers when it is at work."""

    name = "systemd"

    def __init__(self, run_socket: Path, archive: Path) -> None:
        self._socket = run_socket
        self._archive = archive

    async def launch(self, attempt: AttemptDirectory) -> None:
        try:
            async with asyncio.timeout(_START_S):
                answer = await self._ask(StartRequest(attempt.path, self._archive))
        except TimeoutError:
            raise UnavailableError(f"the unit of the run did not answer within {_START_S:g} s; {_LOOK}", code="start_failed") from None
        except (OSError, IpcError, ValueError) as error:
            raise UnavailableError(f"no unit could be asked for over {self._socket}: {error}; {_LOOK}", code="start_failed") from error
        if not answer.started:
            raise UnavailableError(f"the runner did not start: {answer.message}", code="start_failed", log=str(attempt.runner_log))

    async def _ask(self, request: StartRequest) -> StartAnswer:
        reader, writer = await asyncio.open_unix_connection(self._socket, limit=LINE_BYTES)
        try:
            writer.write(request.encode())
            await writer.drain()
            line = await reader.readline()
        finally:
            writer.close()
        return StartAnswer.decode(line) if line else StartAnswer(False, f"its unit ended without an answer; {_LOOK}")


def choose_launcher(wanted: Literal["direct", "systemd"] | None, run_socket: Path | None, archive: Path) -> Launcher:
    """The launcher that is *wanted*; without a wish systemd's where its socket is ours, else the direct one.

    A socket that is wanted and not there is told in the log and does not keep the daemon from its runs: it may yet come.
    """
    is_there = run_socket is not None and is_ours(run_socket)
    if wanted == "direct" or (wanted is None and not is_there):
        return DirectLauncher(archive)
    if run_socket is None:
        raise UnavailableError(
            "launcher = 'systemd' needs run_socket, where onetrainer-run.socket listens; `onetrainerd install` sets both",
            code="no_run_socket",
        )
    if not is_there:
        _LOG.error(
            "no run can be started: %s is no socket of user %d; systemctl enable --now onetrainer-run.socket", run_socket, os.geteuid()
        )
    return UnitLauncher(run_socket, archive)


def is_ours(run_socket: Path) -> bool:
    """Whether a socket is there that belongs to our user. The unit removes it when it stops to listen (RemoveOnStop=)."""
    try:
        found = run_socket.stat()
    except OSError:
        return False
    return stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid()
