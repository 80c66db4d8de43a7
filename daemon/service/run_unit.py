"""The main process of a unit `onetrainer-run@`: hear on the run socket which attempt to hold, judge that, become its runner.

    python -I -m daemon.service.run_unit start STATE_DIR     with the connection as standard input
    python -I -m daemon.service.run_unit wait                 ExecStop: until the trainer of a dead runner has ended

Only the standard library and `ipc`: it is started for each attempt, and stands between the socket and everything else.
"""

import os
import re
import socket
import stat
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from daemon.service.notify import Notifier
from ipc.errors import IpcError
from ipc.run_directory import RUN_ID, AttemptDirectory
from ipc.run_socket import LINE_BYTES, StartAnswer, StartRequest

_REQUEST_S = 10.0
_LOOK_S = 0.5
_ARCHIVE = re.compile(r"runner-[A-Za-z0-9.+_-]+\.pyz")
_ATTEMPT = re.compile(r"[1-9][0-9]*")


class RefusedError(Exception):
    """What was asked for is not started, and why."""


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case ["start", state_dir]:
            return start(Path(state_dir), socket.socket(fileno=os.dup(0)))
        case ["wait"]:
            return wait_for_orphan()
        case _:
            sys.stderr.write("usage: run_unit start STATE_DIR | wait\n")
            return 2


def start(state_dir: Path, connection: socket.socket) -> int:
    """Answer and return 1 when the request is refused; else become the runner, which answers itself, on descriptor 0."""
    try:
        refuse_strangers(connection)
        request = read_request(connection)
        check(request, state_dir)
    except (RefusedError, IpcError, OSError) as error:
        StartAnswer(False, str(error)).send(connection.fileno())
        sys.stderr.write(f"<4>not started: {error}\n")
        return 1
    attempt = AttemptDirectory(request.attempt)
    name = f"run {attempt.run.run_id}, attempt {attempt.number}"
    sys.stderr.write(f"<6>{name}\n")
    Notifier(os.environ).status(name)
    connection.close()
    return _become_runner(attempt, request.archive)


def _become_runner(attempt: AttemptDirectory, archive: Path) -> NoReturn:
    # The base interpreter, isolated: a broken venv must not be able to silence the runner.
    python = getattr(sys, "_base_executable", None) or sys.executable
    environment = {key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ"}}
    environment["TMPDIR"] = str(attempt.run.tmp)
    os.execve(python, [python, "-I", "-S", str(archive), "runner", "--answer-fd", "0", str(attempt.path)], environment)  # noqa: S606 - no shell # nosec B606


def refuse_strangers(connection: socket.socket) -> None:
    """Only our own user may start anything, whatever the mode of the socket has become (SO_PEERCRED, unix(7)). Raises RefusedError."""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    if uid != os.geteuid():
        raise RefusedError(f"user {uid} may not start a run; only user {os.geteuid()} may")


def read_request(connection: socket.socket) -> StartRequest:
    """The one line that the daemon says. Raises RefusedError, MalformedError or VersionError."""
    connection.settimeout(_REQUEST_S)
    line = b""
    try:
        while not line.endswith(b"\n") and len(line) < LINE_BYTES:
            data = connection.recv(LINE_BYTES - len(line))
            if not data:
                break
            line += data
    except TimeoutError:
        raise RefusedError(f"no request came within {_REQUEST_S:g} s") from None
    connection.settimeout(None)
    return StartRequest.decode(line)


def check(request: StartRequest, state_dir: Path) -> None:
    """Hold *request* to this state directory: an attempt below its `runs/`, a packed runner in its `runtime/`, no links on the way.

    Raises:
        RefusedError: and why.
    """
    attempt, archive = request.attempt, request.archive
    runs, runtime = state_dir / "runs", state_dir / "runtime"
    folder, number = attempt.parent, attempt.name
    if (
        folder.name != "attempts"
        or folder.parent.parent != runs
        or not RUN_ID.fullmatch(folder.parent.name)
        or not _ATTEMPT.fullmatch(number)
    ):
        raise RefusedError(
            f"{attempt} is not the folder of an attempt in {runs}; does the daemon use another state directory than this unit?"
        )
    if archive.parent != runtime or not _ARCHIVE.fullmatch(archive.name):
        raise RefusedError(f"{archive} is not a packed runner in {runtime}")
    real = Path(os.path.realpath(state_dir))
    for path, kind, is_right in (
        (attempt, "a folder", stat.S_ISDIR), (attempt / "launch.json", "a file", stat.S_ISREG), (archive, "a file", stat.S_ISREG)
    ):  # fmt: skip
        if Path(os.path.realpath(path)) != real / path.relative_to(state_dir):
            raise RefusedError(f"{path}: there is a link on the way to it")
        found = path.lstat()
        if not is_right(found.st_mode) or found.st_uid != os.geteuid():
            raise RefusedError(f"{path} is not {kind} of user {os.geteuid()}")


def wait_for_orphan() -> int:
    """Return when nobody is left in this unit but us. While the main process lives there is nothing to wait for: systemd signals it next.

    A runner that dies leaves a trainer that backs up, saves and ends by itself; without this wait, KillMode=mixed would kill it at once.
    """
    if os.environ.get("MAINPID"):
        return 0
    while others_in_this_unit():
        time.sleep(_LOOK_S)
    return 0


def others_in_this_unit() -> list[int]:
    """The other living processes of our control group."""
    own = _unit_of(Path("/proc/self"))
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int(process.name) != os.getpid() and _unit_of(process) == own and b") Z " not in (process / "stat").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue  # it has just ended
    return found


def _unit_of(process: Path) -> set[str]:
    """The lines of /proc/<pid>/cgroup that are systemd's own: of version 2, and its named hierarchy of version 1 (cgroups(7))."""
    lines = (process / "cgroup").read_text().splitlines()
    return {line.partition(":")[2] for line in lines if line.split(":")[1] in {"", "name=systemd"}}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
