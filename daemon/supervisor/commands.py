"""Orders to a runner, and their answers out of its journal."""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daemon.errors import ConflictError, DaemonError, InvalidError, UnavailableError, UnsupportedError
from daemon.runs.fold import Record
from ipc.atomic import replace_file
from ipc.errors import CommandError, IpcError
from ipc.messages import COMMAND_LINE_BYTES, Command, encode, encode_command
from ipc.pipes import send_line
from ipc.run_directory import AttemptDirectory

ACCEPT_S = 10.0
_ERRORS: dict[str, type[DaemonError]] = {"unsupported": UnsupportedError, "invalid": InvalidError}


@dataclass
class _Waiting:
    accepted: asyncio.Future[None]
    answered: asyncio.Future[Record]


class CommandDesk:
    """Sends commands to one attempt's runner and matches what its journal answers."""

    def __init__(self, attempt: AttemptDirectory) -> None:
        self._attempt = attempt
        self._waiting: dict[str, _Waiting] = {}

    async def send(self, name: str, args: Mapping[str, Any], settle_s: float, sender: str = "c") -> Record | None:
        """Send a command; return its `command.done`, or None when it is accepted and not done within *settle_s* seconds.

        *sender* begins its id, so that the journal says whose it was.

        Raises:
            UnavailableError: the runner did not accept it within ten seconds, or its pipe is broken.
            ConflictError, InvalidError, UnsupportedError: the trainer answered that it failed.
        """
        loop = asyncio.get_running_loop()
        command = Command(f"{sender}{secrets.token_hex(8)}", name, dict(args))
        waiting = _Waiting(loop.create_future(), loop.create_future())
        self._waiting[command.id] = waiting
        try:
            self._write(command)
            either: list[asyncio.Future[Any]] = [waiting.accepted, waiting.answered]
            await asyncio.wait(either, timeout=ACCEPT_S, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.accepted.done() and not waiting.answered.done():
                raise UnavailableError(
                    f"the runner did not accept {name!r} within {ACCEPT_S:g} s; is the process stopped, "
                    "or the disk of the state directory full? It will carry the command out all the same, as soon as it can",
                    code="runner_silent",
                )
            await asyncio.wait({waiting.answered}, timeout=settle_s)
            return _judged(waiting.answered.result()) if waiting.answered.done() else None
        finally:
            del self._waiting[command.id]

    def hear(self, record: Record) -> None:
        """A record of the attempt's journal: resolves whoever waits for it."""
        waiting = self._waiting.get(record.get("id", ""))
        if waiting is None:
            return
        if record["type"] == "command.accepted" and not waiting.accepted.done():
            waiting.accepted.set_result(None)
        elif record["type"] in ("command.done", "command.failed") and not waiting.answered.done():
            waiting.answered.set_result(record)

    def _write(self, command: Command) -> None:
        try:
            line = encode_command(command)
            if len(line) > COMMAND_LINE_BYTES:
                replace_file(self._attempt.commands / f"{command.id}.json", encode(command.args), mode=0o600)
                line = encode_command(command, args_in_file=True)
            send_line(self._attempt.control_pipe, line)
        except CommandError as error:
            raise UnavailableError(str(error), code="runner_silent") from error
        except (IpcError, OSError) as error:
            raise UnavailableError(f"the runner's pipe cannot be written: {error}", code="runner_gone") from error


def _judged(answer: Record) -> Record:
    if answer["type"] == "command.done":
        return answer
    code = str(answer.get("code"))
    raise _ERRORS.get(code, ConflictError)(f"{answer.get('command')}: {answer.get('message')}", code=code)
