"""The main process of a run's unit, as the daemon's launcher meets it: a real socket, a real process, a real runner."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from daemon.errors import UnavailableError
from daemon.service.run_unit import RefusedError, check, refuse_strangers
from daemon.supervisor.adoption import identities
from daemon.supervisor.unit_launcher import UnitLauncher, choose_launcher
from ipc.exit_record import read_exit
from ipc.run_directory import AttemptDirectory, RunDirectory
from ipc.run_socket import StartAnswer, StartRequest
from tests.runner.lab import SCRIPT

FINISHED = ["emit", {"type": "trainer.finished", "outcome": "completed", "message": "done", "global_step": 3}]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with a packed runner and one attempt, ready to be started."""
    state = tmp_path / "state"
    run = RunDirectory(state / "runs" / "000001-abcd")
    run.tmp.mkdir(parents=True)
    attempt = run.attempt(1)
    attempt.create()
    run.config.write_text(json.dumps({"script": [FINISHED]}))
    attempt.launch.write_text(json.dumps({
        "v": 1, "run_id": run.run_id, "attempt": 1, "backend": "scripted", "argv": [sys.executable, "-I", str(SCRIPT)],
        "cwd": str(tmp_path), "env": {}, "continue_from": None, "stop": {"grace_s": 20, "term_s": 20}, "console": {"max_bytes": 1 << 20},
    }))  # fmt: skip
    return state


@pytest.fixture
def packed(state: Path, archive: Path) -> Path:
    target = state / "runtime" / archive.name
    target.parent.mkdir()
    target.write_bytes(archive.read_bytes())
    return target


def attempt_of(state: Path) -> AttemptDirectory:
    return RunDirectory(state / "runs" / "000001-abcd").attempt(1)


@contextlib.asynccontextmanager
async def run_socket(path: Path, *command: str) -> AsyncIterator[list[subprocess.Popen[bytes]]]:
    """A socket that does as systemd with Accept=yes: *command* for each connection, with that as its standard input."""
    started: list[subprocess.Popen[bytes]] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listener.setblocking(False)

    async def accept() -> None:
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            with connection:
                connection.setblocking(True)
                started.append(subprocess.Popen(command, stdin=connection.fileno(), stderr=subprocess.PIPE))  # noqa: ASYNC220 - a fork, and no wait

    task = asyncio.create_task(accept())
    try:
        yield started
    finally:
        task.cancel()
        listener.close()
        for process in started:
            process.kill()
            process.communicate()


def unit(state: Path) -> list[str]:
    return [sys.executable, "-I", "-m", "daemon.service.run_unit", "start", str(state)]


async def test_a_run_asked_for_over_the_socket_is_held_by_the_process_that_systemd_started(state: Path, packed: Path) -> None:
    attempt = attempt_of(state)
    async with run_socket(state / "run.sock", *unit(state)) as started:
        await UnitLauncher(state / "run.sock", packed).launch(attempt)
        runner, _ = identities(attempt)
        assert runner is not None
        assert runner.pid == started[0].pid
        assert await asyncio.to_thread(started[0].wait, 30) == 0
    record = read_exit(attempt.exit)
    assert record is not None
    assert record.cause == "completed"


@pytest.mark.parametrize(("break_it", "why"), [
    (lambda state: attempt_of(state).launch.unlink(), "launch.json"),
    (lambda state: attempt_of(state).launch.write_text("{}"), "version None"),
])  # fmt: skip
async def test_why_a_run_does_not_start_comes_back_over_the_socket(
    state: Path, packed: Path, break_it: Callable[[Path], object], why: str
) -> None:
    break_it(state)
    async with run_socket(state / "run.sock", *unit(state)) as started:
        with pytest.raises(UnavailableError, match=why):
            await UnitLauncher(state / "run.sock", packed).launch(attempt_of(state))
        assert await asyncio.to_thread(started[0].wait, 30) == 1


async def test_a_unit_that_dies_and_a_socket_that_is_gone_are_told_with_where_to_look(state: Path, packed: Path) -> None:
    launcher = UnitLauncher(state / "run.sock", packed)
    with pytest.raises(UnavailableError, match=r"onetrainer-run\.socket"):
        await launcher.launch(attempt_of(state))
    async with run_socket(state / "run.sock", "true"):
        with pytest.raises(UnavailableError, match="journalctl"):
            await launcher.launch(attempt_of(state))


def test_only_attempts_and_packed_runners_of_this_state_directory_are_started(state: Path, packed: Path, tmp_path: Path) -> None:
    attempt = attempt_of(state).path
    check(StartRequest(attempt, packed), state)
    elsewhere = tmp_path / "elsewhere.pyz"
    elsewhere.write_bytes(packed.read_bytes())
    (packed.parent / "runner-2-linked.pyz").symlink_to(elsewhere)
    (attempt.parent / "2").symlink_to(attempt)
    moved = tmp_path / "moved"
    for bad_attempt, bad_archive in (
        (attempt, elsewhere),
        (attempt, packed.parent / ".." / "runtime" / packed.name),
        (attempt, packed.parent / "runner-2-linked.pyz"),
        (attempt, packed.parent / "runner-3-missing.pyz"),
        (attempt, packed.parent / "other.pyz"),
        (attempt.parent / "2", packed),
        (attempt.parent / "3", packed),
        (attempt.parent / ".." / "attempts" / "1", packed),
        (attempt / ".." / "1", packed),
        (attempt.parent, packed),
        (Path("/etc"), packed),
        (Path("attempts/1"), packed),
    ):
        with pytest.raises((RefusedError, OSError)):
            check(StartRequest(bad_attempt, bad_archive), state)
    with pytest.raises(RefusedError, match="another state directory"):
        check(StartRequest(attempt, packed), tmp_path / "other")
    state.rename(moved)
    state.symlink_to(moved)  # the state directory itself may be a link: to a larger disk
    check(StartRequest(attempt, packed), state)


@pytest.mark.skipif(os.geteuid() != 0, reason="another user can only be had by root")
def test_another_user_is_refused_by_the_credentials_of_the_connection() -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0onetrainerd-test-" + os.urandom(8).hex())
    listener.listen()
    script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(chr(0) + sys.argv[1]); sys.stdin.read()"
    name = listener.getsockname()[1:].decode()
    with (
        listener,
        subprocess.Popen(["/usr/bin/env", "python3", "-c", script, name], stdin=subprocess.PIPE, user=65534, group=65534) as stranger,
    ):
        connection, _ = listener.accept()
        with connection, pytest.raises(RefusedError, match="user 65534 may not start a run"):
            refuse_strangers(connection)
        stranger.communicate()


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"[]\n", b"{}\n", b'{"v": 1}\n', b'{"v": 99, "attempt": "/a", "archive": "/b"}\n', b"x" * 20000]
)
def test_a_line_that_is_no_request_is_answered_and_nothing_is_started(state: Path, line: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, subprocess.Popen(unit(state), stdin=theirs.fileno(), stderr=subprocess.PIPE) as process:
        theirs.close()
        with contextlib.suppress(BrokenPipeError):
            ours.sendall(line)
        ours.shutdown(socket.SHUT_WR)
        with ours.makefile("rb") as answers:
            answer = StartAnswer.decode(answers.readline())
        _, told = process.communicate(timeout=30)
    assert (process.returncode, answer.started) == (1, False)
    assert answer.message in told.decode()


def test_the_launcher_is_systemds_where_its_socket_is_ours(tmp_path: Path) -> None:
    path, archive = tmp_path / "run.sock", tmp_path / "runner.pyz"
    assert choose_launcher(None, None, archive).name == "direct"
    assert choose_launcher(None, path, archive).name == "direct"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert choose_launcher(None, path, archive).name == "systemd"
        assert choose_launcher("direct", path, archive).name == "direct"
    path.unlink()
    assert choose_launcher("systemd", path, archive).name == "systemd"
    with pytest.raises(UnavailableError, match="run_socket"):
        choose_launcher("systemd", None, archive)


def test_waiting_for_an_orphan_is_over_at_once_where_the_runner_lives() -> None:
    command = [sys.executable, "-I", "-m", "daemon.service.run_unit", "wait"]
    assert subprocess.run(command, env={"MAINPID": "1"}, timeout=30, check=False).returncode == 0
    with subprocess.Popen(command, env={}) as waiting:  # the tests themselves are the others here
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(1)
        waiting.send_signal(signal.SIGTERM)
