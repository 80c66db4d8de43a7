"""Orders to a runner, and their answers out of its journal."""

import asyncio
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daemon.errors import ConflictError, DaemonError, InvalidError, UnavailableError, UnsupportedError
from daemon.runs.disk import Room
from daemon.runs.fold import Record
from daemon.supervisor.room import room_at
from ipc.atomic import replace_file
from ipc.errors import CommandError, IpcError
from ipc.messages import COMMAND_LINE_BYTES, Command, encode, encode_command
from ipc.pipes import send_line
from ipc.run_directory import AttemptDirectory

ACCEPT_S = 10.0
_FULL_BELOW = 1 << 20
_TOO_LATE = {"code": "run_ended", "message": "the run ended before its runner took the command"}
_NO_ROOM = re.compile(r"no space left on device|\bENOSPC\b|errno 28\b|os error 28\b|disk quota exceeded", re.IGNORECASE)
"""In the words of strerror(3), of Python's OSError, and of Rust's, in which safetensors writes."""
_PATH = re.compile(r"(?:device|exceeded): '([^']+)'", re.IGNORECASE)
_ERRORS: dict[str, type[DaemonError]] = {"unsupported": UnsupportedError, "invalid": InvalidError}


@dataclass
class _Waiting:
    name: str
    accepted: asyncio.Future[None]
    answered: asyncio.Future[Record]


class CommandDesk:
    """Sends commands to one attempt's runner and matches what its journal answers."""

    def __init__(self, attempt: AttemptDirectory, accept_s: float = ACCEPT_S) -> None:
        self._attempt = attempt
        self._accept_s = accept_s
        self._waiting: dict[str, _Waiting] = {}

    async def send(self, name: str, args: Mapping[str, Any], settle_s: float, sender: str = "c") -> Record | None:
        """Send a command; return its `command.done`, or None when it is accepted and not done within *settle_s* seconds.

        *sender* begins its id, so that the journal says whose it was.

        Raises:
            UnavailableError: the runner did not accept it within ten seconds (code `runner_silent`, or `disk_full` where that is why), its
                pipe is broken, or the trainer tried and failed (`command_failed`, `disk_full`).
            ConflictError, InvalidError, UnsupportedError: the trainer answered that it cannot be, now or ever; or its runner was about to
                end and took no more commands (code `run_ended`).
        """
        loop = asyncio.get_running_loop()
        command = Command(f"{sender}{secrets.token_hex(8)}", name, dict(args))
        waiting = _Waiting(name, loop.create_future(), loop.create_future())
        self._waiting[command.id] = waiting
        try:
            self._write(command)
            either: list[asyncio.Future[Any]] = [waiting.accepted, waiting.answered]
            await asyncio.wait(either, timeout=self._accept_s, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.accepted.done() and not waiting.answered.done():
                raise _unheard(name, self._accept_s, await asyncio.to_thread(room_at, self._attempt.path))
            await asyncio.wait({waiting.answered}, timeout=settle_s)
            return _judged(waiting.answered.result()) if waiting.answered.done() else None
        finally:
            del self._waiting[command.id]

    def close(self) -> None:
        """The runner is gone, and its journal read out: who still waits to be accepted waits for nothing. A stop has what it wanted: on a
        full disk a runner obeys, and cannot write down that it does."""
        for waiting in self._waiting.values():
            if waiting.accepted.done() or waiting.answered.done():
                continue
            if waiting.name == "stop":
                waiting.accepted.set_result(None)
            else:
                waiting.answered.set_result({"type": "command.failed", **_TOO_LATE, "command": waiting.name})

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


def _unheard(name: str, accept_s: float, room: Room | None) -> UnavailableError:
    """A runner whose disk is full hears and obeys; what it cannot do is write down that it has accepted."""
    late = f"the runner did not accept {name!r} within {accept_s:g} s"
    after = "it will carry the command out all the same, as soon as it can"
    if room is not None and room.free < _FULL_BELOW:
        return UnavailableError(f"{late}, for the disk is full at {room.path}: make room there; {after}", code="disk_full", path=room.path)
    return UnavailableError(f"{late}; is the process stopped? If not, {after}", code="runner_silent")


def _judged(answer: Record) -> Record:
    if answer["type"] == "command.done":
        return answer
    code, told = str(answer.get("code")), f"{answer.get('command')}: {answer.get('message')}"
    if code != "failed":
        raise _ERRORS.get(code, ConflictError)(told, code=code)
    if not _NO_ROOM.search(told):
        raise UnavailableError(told, code="command_failed")
    path = _PATH.search(told)
    where = f"at {path[1]}" if path else "that it writes to"
    raise UnavailableError(f"{told}; make room on the disk {where}, and ask again", code="disk_full", **({"path": path[1]} if path else {}))
