"""The runner with real processes: what it journals, how it stops a trainer, and what it says of every kind of end."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from ipc.exit_record import read_exit
from ipc.process import ProcessIdentity
from ipc.run_socket import StartAnswer
from tests.runner.lab import RunnerUnderTest, launch_runner, prepare_attempt, start_runner

FINISHED = ["emit", {"type": "trainer.finished", "outcome": "completed", "message": "all epochs done", "global_step": 3}]


def error(*, fatal: bool) -> list[Any]:
    return ["emit", {"type": "error", "fatal": fatal, "cause": "cuda_oom", "exception": "OutOfMemoryError", "message": "no room"}]


class Start(Protocol):
    def __call__(self, script: list[list[Any]], **changes: Any) -> RunnerUnderTest: ...


@pytest.fixture
def start(tmp_path: Path, archive: Path) -> Iterator[Start]:
    runners: list[RunnerUnderTest] = []

    def begin(script: list[list[Any]], **changes: Any) -> RunnerUnderTest:
        runners.append(start_runner(tmp_path, archive, script, **changes))
        return runners[-1]

    yield begin
    for runner in runners:
        for who in ("trainer", "runner"):
            try:
                runner.identity(who).send_signal(signal.SIGKILL)
            except KeyError:
                continue
        runner.close()


def test_a_training_that_ends_by_itself_is_numbered_journaled_and_recorded(start: Start) -> None:
    runner = start([["emit", {"type": "step", "global_step": 3, "scalars": {}}], ["print", "hello\n"], FINISHED])
    record = runner.wait_end()
    assert (record.cause, record.code, record.global_step, record.console_tail) == ("completed", 0, 3, ["hello"])
    assert [event["seq"] for event in runner.events] == list(range(1, len(runner.events) + 1))
    assert runner.types() == ["runner.started", "trainer.spawned", "step", "trainer.finished", "trainer.exited", "runner.exited"]
    assert runner.events[-1]["exit"]["cause"] == "completed"
    assert runner.attempt.console.read_text() == "hello\n"


@pytest.mark.parametrize(
    ("script", "cause", "code", "name"),
    [
        ([["exit", 0]], "unknown", 0, None),
        ([["exit", 3]], "unknown", 3, None),
        ([["signal", signal.SIGSEGV]], "crash", None, "SIGSEGV"),
        ([["signal", signal.SIGABRT]], "crash", None, "SIGABRT"),
        ([["signal", signal.SIGBUS]], "crash", None, "SIGBUS"),
        ([["signal", signal.SIGKILL]], "killed", None, "SIGKILL"),
        ([error(fatal=True), ["exit", 1]], "cuda_oom", 1, None),
        ([error(fatal=False), ["exit", 1]], "unknown", 1, None),
        ([["emit", {"type": "trainer.finished", "outcome": "nothing_done", "message": "no images"}]], "nothing_done", 0, None),
        ([FINISHED, ["signal", signal.SIGSEGV]], "completed", None, "SIGSEGV"),
    ],
)
def test_every_end_is_told_as_it_was(start: Start, script: list[list[Any]], cause: str, code: int | None, name: str | None) -> None:
    record = start(script).wait_end()
    assert (record.cause, record.code, record.signal) == (cause, code, name)
    assert record.message


def test_a_trainer_that_cannot_be_started_is_told(start: Start) -> None:
    record = start([], argv=["/nowhere/python"]).wait_end()
    assert record.cause == "start_failed"
    assert "/nowhere/python" in record.message


def test_a_command_is_accepted_passed_on_and_its_answer_journaled(start: Start) -> None:
    runner = start([["await_command"], ["answer", "done"], FINISHED])
    runner.send("backup", "c7", note="x")
    assert runner.wait_event("command.accepted")["id"] == "c7"
    assert runner.wait_event("command.done")["result"] == {"note": "x"}


def test_a_command_sent_twice_is_carried_out_once(start: Start) -> None:
    runner = start([["await_command"], ["answer", "done"], ["await_command"], FINISHED])
    for identifier in ("c1", "c1", "c2"):
        runner.send("save", identifier)
    runner.wait_end()
    assert [event["id"] for event in runner.events if event["type"] == "command.accepted"] == ["c1", "c2"]


def test_a_command_that_the_trainer_took_to_its_grave_has_failed(start: Start) -> None:
    runner = start([["await_command"], ["signal", signal.SIGKILL]])
    runner.send("save")
    runner.wait_end()
    assert runner.wait_event("command.failed")["code"] == "trainer_died"


def test_garbage_in_both_pipes_is_told_and_breaks_nothing(start: Start) -> None:
    garbage = [
        "nonsense", "[1]", '{"type": 5}', '{"type": "runner.exited"}', "", '{"type": "step", "global_step": NaN}', '{"type": "steps"}',
        '{"type": "steps", "rows": []}', '{"type": "command.done", "id": []}', '{"type": "log", "ts": "now"}', '{"a":' * 5000,
    ]  # fmt: skip
    runner = start([["raw", "\n".join(garbage) + "\n"], ["await_command"], FINISHED])
    fd = os.open(runner.attempt.control_pipe, os.O_RDWR)
    os.write(fd, b'nonsense\n{"v": 99, "id": "x", "command": "stop"}\n{"v":1,"id":"../x","command":"stop"}\n')
    os.close(fd)
    runner.send("save")
    assert runner.wait_end().cause == "completed"
    assert len([event for event in runner.events if event["type"] == "log"]) == len(garbage) - 1 + 3


def test_a_stop_is_passed_on_and_answered_when_the_trainer_has_gone(start: Start) -> None:
    stopped = ["emit", {"type": "trainer.finished", "outcome": "stopped", "message": "stopped"}]
    runner = start([["await_command"], stopped])
    runner.send("stop")
    assert runner.wait_end().cause == "stopped"
    assert runner.types()[2:] == [
        "command.accepted", "stop.requested", "stop.grace", "trainer.finished", "trainer.exited", "command.done", "runner.exited",
    ]  # fmt: skip


def test_a_trainer_that_ignores_everything_is_killed_rung_by_rung(start: Start) -> None:
    runner = start([["ignore_term"], ["emit", {"type": "log", "level": "info", "message": "deaf"}], ["hang"]])
    runner.wait_event("log")
    runner.send("stop", grace_s=0.1, term_s=0.1)
    record = runner.wait_end()
    assert (record.cause, record.signal, record.evidence["by"]) == ("killed", "SIGKILL", "stop")
    assert [kind for kind in runner.types() if kind.startswith("stop.")] == ["stop.requested", "stop.grace", "stop.term", "stop.kill"]


def test_force_goes_straight_to_the_kill(start: Start) -> None:
    runner = start([["hang"]])
    runner.wait_event("trainer.spawned")
    runner.send("stop", force=True)
    assert runner.wait_end().signal == "SIGKILL"
    assert "stop.term" not in runner.types()


def test_sigterm_to_the_runner_is_a_stop_with_a_backup(start: Start) -> None:
    runner = start([["await_command"], ["answer", "done"], FINISHED])
    runner.wait_event("trainer.spawned")
    runner.identity().send_signal(signal.SIGTERM)
    assert runner.wait_end().cause == "completed"
    assert runner.wait_event("stop.requested")["origin"] == "sigterm"
    assert runner.wait_event("command.done")["result"] == {"backup": True}


def test_a_runner_that_a_unit_holds_is_the_process_that_was_started_and_answers_on_its_descriptor(tmp_path: Path, archive: Path) -> None:
    attempt = prepare_attempt(tmp_path, [["emit", {"type": "log", "level": "info", "message": "hello"}], FINISHED])
    ours, theirs = socket.socketpair()
    python = getattr(sys, "_base_executable", sys.executable)
    with (
        ours,
        subprocess.Popen(
            [python, "-I", "-S", str(archive), "runner", "--answer-fd", "0", str(attempt.path)],
            stdin=theirs.fileno(),
            stderr=subprocess.DEVNULL,
        ) as process,
    ):
        theirs.close()
        with ours.makefile("rb") as answers:
            assert StartAnswer.decode(answers.readline()) == StartAnswer(True)
            assert answers.read() == b""  # the trainer has not inherited it
        assert RunnerUnderTest(attempt).identity().pid == process.pid
        assert process.wait(30) == 0
    record = read_exit(attempt.exit)
    assert record is not None
    assert record.cause == "completed"


def test_a_runner_that_cannot_begin_says_why_on_its_descriptor(tmp_path: Path, archive: Path) -> None:
    attempt = prepare_attempt(tmp_path, [])
    attempt.launch.unlink()
    python = getattr(sys, "_base_executable", sys.executable)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [python, "-I", "-S", str(archive), "runner", "--answer-fd", str(theirs.fileno()), str(attempt.path)]
        ended = subprocess.run(command, pass_fds=[theirs.fileno()], timeout=30, check=False)
        answer = StartAnswer.decode(ours.recv(65536))
    assert (ended.returncode, answer.started) == (1, False)
    assert "launch.json" in answer.message


def test_what_the_trainer_leaves_behind_is_ended_too(start: Start) -> None:
    runner = start([["stray"], FINISHED])
    pid = int(runner.wait_event("log")["message"])
    runner.wait_end()
    assert runner.wait_event("trainer.exited")["strays"] == 1
    with pytest.raises(ProcessLookupError):
        ProcessIdentity.of(pid)


def test_a_flood_of_events_arrives_whole_and_in_order(start: Start) -> None:
    runner = start([["flood", 20_000], FINISHED])
    runner.wait_end()
    assert [event["global_step"] for event in runner.events if event["type"] == "step"] == list(range(1, 20_001))


def test_the_runner_needs_less_than_15_megabytes(start: Start) -> None:
    runner = start([["flood", 5000], ["print", "x" * 100_000 + "\n"], ["emit", {"type": "log"}], ["hang"]])
    runner.wait_event("log")
    status = Path(f"/proc/{runner.identity().pid}/status").read_text()
    peak_kib = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    assert peak_kib < 15 * 1024


def test_a_second_runner_on_the_same_attempt_is_refused(start: Start, archive: Path) -> None:
    runner = start([["hang"]])
    runner.wait_event("trainer.spawned")
    second = launch_runner(archive, runner.attempt)
    assert second.returncode == 1
    assert "locked by another process" in second.stderr


def test_an_attempt_that_was_given_up_is_not_started_late(start: Start, archive: Path) -> None:
    runner = start([FINISHED])
    runner.wait_end()
    runner.attempt.launch.unlink()
    assert "launch.json" in launch_runner(archive, runner.attempt).stderr


def test_the_archive_says_how_it_is_used(archive: Path) -> None:
    result = subprocess.run([sys.executable, str(archive)], capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 2
    assert "usage" in result.stderr
