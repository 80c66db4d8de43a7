"""Whole files, locks, pipes, commands, and who a pid is."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ipc.atomic import read_object, read_versioned, replace_file
from ipc.errors import CommandError, LockHeldError, MalformedError, VersionError
from ipc.exit_record import ExitRecord, ExitSlot, read_exit
from ipc.locks import FileLock, is_locked
from ipc.messages import Command, decode_command, encode_command, number_from_json, number_to_json
from ipc.pipes import LineBuffer, open_fifo, send_line
from ipc.process import ProcessIdentity
from ipc.run_directory import RunDirectory


def test_replacing_a_file_leaves_the_old_one_when_it_fails(tmp_path: Path) -> None:
    target = tmp_path / "a"
    replace_file(target, b"old")
    (tmp_path / f".a.{os.getpid()}.tmp").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(target, b"new")
    assert target.read_bytes() == b"old"


def test_files_of_another_kind_or_version_are_refused_with_their_name(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    for text, error in (("[1]", MalformedError), ("{", MalformedError), ('{"v": 2}', VersionError), ("{}", VersionError)):
        path.write_text(text)
        with pytest.raises(error, match=r"run\.json"):
            read_versioned(path, 1)
    with pytest.raises(FileNotFoundError):
        read_object(tmp_path / "none")


def test_a_lock_is_free_when_its_holder_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        f"from pathlib import Path; from ipc.locks import FileLock;FileLock(Path({str(path)!r})).acquire(); print(1, flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert is_locked(path)
        with pytest.raises(LockHeldError, match="lock"):
            FileLock(path).acquire()
        holder.kill()
    assert not is_locked(path)
    assert not is_locked(tmp_path / "none")


def test_a_pid_with_another_start_time_or_boot_is_somebody_else() -> None:
    own = ProcessIdentity.of(os.getpid())
    assert own.is_alive()
    for other in (own._replace(start_ticks=own.start_ticks + 1), own._replace(boot_id="another")):
        assert not other.is_alive()
        assert other.open_pidfd() is None
        assert not other.send_signal(0)


def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(ProcessLookupError):
        ProcessIdentity.of(process.pid)
    process.wait()


def test_commands_travel_whole_or_are_refused() -> None:
    command = Command("c1", "sample", {"sample": {"prompt": "é\ud800\n"}})
    line = encode_command(command)
    assert line.count(b"\n") == 1
    assert decode_command(line)[0].args == {"sample": {"prompt": "é?\n"}}
    assert decode_command(encode_command(Command("a", "stop", {})))[0] == Command("a", "stop", {})
    for bad in (Command("../x", "stop", {}), Command("", "stop", {}), Command("a", "format", {})):
        with pytest.raises(CommandError):
            encode_command(bad)
    for text in (b"", b"{}", b"null", b"[" * 100_000, b'{"v":1,"id":"a","command":"stop","args":[]}', b'{"v":2,"id":"a","command":"stop"}'):
        with pytest.raises(MalformedError):
            decode_command(text)


@pytest.mark.parametrize(("value", "travels_as"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (0.5, 0.5)])
def test_numbers_that_json_lacks_travel_as_words(value: float, travels_as: object) -> None:
    assert number_to_json(value) == travels_as
    back = number_from_json(travels_as)
    assert back == value or (math.isnan(back) and math.isnan(value))


def test_a_pipe_that_nobody_reads_refuses_instead_of_blocking(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    holder = open_fifo(path)
    for _ in range(16):
        send_line(path, b"x" * 4095 + b"\n")
    with pytest.raises(CommandError, match="is full"):
        send_line(path, b"x" * 4095 + b"\n")
    os.close(holder)
    path.unlink()
    path.touch()
    with pytest.raises(MalformedError, match="not a FIFO"):
        send_line(path, b"x\n")


def test_lines_are_cut_from_pieces_of_any_size_and_long_ones_dropped() -> None:
    data = b"one\n\n" + b"x" * 50 + b"\ntwo\nthr"
    for size in range(1, len(data)):
        buffer = LineBuffer(20)
        lines = [line for start in range(0, len(data), size) for line in buffer.feed(data[start : start + size])]
        assert lines == [b"one", b"two"]
        assert buffer.oversized == 1


def test_an_exit_record_comes_back_as_it_was_and_its_room_is_taken_before(tmp_path: Path) -> None:
    record = ExitRecord("crash", "m", {"a": 1}, None, "SIGSEGV", None, 7, None, None, None, ["x" * 400] * 40, 1.0, 2.0)
    slot = ExitSlot(tmp_path / "exit.json")
    assert (tmp_path / ".exit.json.reserved").stat().st_size == 64 << 10
    assert read_exit(tmp_path / "exit.json") is None
    slot.write(record)
    assert read_exit(tmp_path / "exit.json") == record
    assert [path.name for path in tmp_path.iterdir()] == ["exit.json"]


def test_attempts_appear_whole_and_are_listed_in_order(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "000001-abcd")
    for number in (1, 2, 10):
        run.attempt(number).create()
    assert [attempt.number for attempt in run.attempts()] == [1, 2, 10]
    with pytest.raises(FileExistsError):
        run.attempt(2).create()
