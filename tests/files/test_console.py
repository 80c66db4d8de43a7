"""The console read while a runner writes and rotates it, without a process: the files are what there is to read."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.files.console import ConsoleReader
from ipc.run_directory import AttemptDirectory
from trainer_runner.runner.console import Console


@pytest.fixture
def attempt(tmp_path: Path) -> AttemptDirectory:
    return AttemptDirectory(tmp_path)


def rotate(attempt: AttemptDirectory, text: bytes = b"") -> None:
    attempt.console.replace(attempt.console.with_name("console.log.1"))
    attempt.console.write_bytes(text)


def append(path: Path, text: bytes) -> None:
    with path.open("ab") as file:
        file.write(text)


def everything(reader: ConsoleReader) -> bytes:
    text = b""
    while piece := reader.read():
        text += piece
    return text


def tail(attempt: AttemptDirectory, lines: int) -> bytes:
    reader = ConsoleReader(attempt, lines, follow=False)
    try:
        return everything(reader)
    finally:
        reader.close()


def test_the_tail_goes_back_over_the_whole_chain(attempt: AttemptDirectory) -> None:
    attempt.console.write_bytes(b"1\n2\n")
    rotate(attempt, b"3\n4\n")
    attempt.orphan_console.write_bytes(b"5\n6")
    assert tail(attempt, 1) == b"6"
    assert tail(attempt, 3) == b"4\n5\n6"
    assert tail(attempt, 5) == b"2\n3\n4\n5\n6"
    assert tail(attempt, 100) == tail(attempt, 0) == b"1\n2\n3\n4\n5\n6"


def test_an_unfinished_line_is_ended_before_the_next_file(attempt: AttemptDirectory) -> None:
    attempt.console.write_bytes(b"torn")
    attempt.orphan_console.write_bytes(b"5\n")
    assert tail(attempt, 0) == b"torn\n5\n"


def test_what_is_not_text_is_replaced(attempt: AttemptDirectory) -> None:
    attempt.console.write_bytes(b"\xff\0" + "ü".encode()[:1])
    attempt.orphan_console.write_bytes("ü".encode())
    assert tail(attempt, 0).decode() == "\ufffd\ufffd\ufffd\nü"


def test_what_is_no_file_counts_as_nothing(attempt: AttemptDirectory) -> None:
    os.mkfifo(attempt.console)
    attempt.orphan_console.symlink_to("/etc/passwd")
    attempt.console.with_name("console.log.1").mkdir()
    for follow in (False, True):
        reader = ConsoleReader(attempt, 0, follow=follow)
        assert reader.read() == b""
        reader.close()


def test_without_follow_what_comes_later_is_not_read(attempt: AttemptDirectory) -> None:
    attempt.console.write_bytes(b"x" * 200_000 + b"\n")
    reader = ConsoleReader(attempt, 0, follow=False)
    first = reader.read()
    append(attempt.console, b"later\n")
    rotate(attempt, b"even later\n")
    assert first + everything(reader) == b"x" * 200_000 + b"\n"
    reader.close()


def test_a_follower_gets_each_line_once_across_rotations(attempt: AttemptDirectory) -> None:
    reader = ConsoleReader(attempt, 200, follow=True)
    assert reader.read() == b""
    attempt.console.write_bytes(b"1\n")
    assert everything(reader) == b"1\n"
    append(attempt.console, b"2\n")
    rotate(attempt, b"3\n")
    assert everything(reader) == b"2\n3\n"
    rotate(attempt)
    assert everything(reader) == b""
    append(attempt.console, b"4\n")
    attempt.orphan_console.write_bytes(b"5\n")
    append(attempt.console, b"")
    assert everything(reader) == b"4\n5\n"
    append(attempt.orphan_console, b"6")
    assert (everything(reader), reader.finish(), reader.read()) == (b"6", b"\n", b"")


def test_a_follower_that_was_overtaken_is_told_of_it(attempt: AttemptDirectory) -> None:
    attempt.console.write_bytes(b"1\n")
    reader = ConsoleReader(attempt, 0, follow=True)
    assert reader.read() == b"1\n"
    append(attempt.console, b"2\n")
    for text in (b"3\n", b"4\n", b"5\n"):
        rotate(attempt, text)
    last, told, *rest = everything(reader).split(b"\n")
    assert (last, rest) == (b"2", [b"4", b"5", b""])
    assert b"missing" in told
    reader.close()


@given(pieces=st.lists(st.lists(st.sampled_from([b"abc\n", b"x" * 300 + b"\n", b"\xff\n"]), max_size=5), max_size=40))
def test_nothing_is_lost_or_doubled_beside_the_real_writer(pieces: list[list[bytes]], tmp_path_factory: pytest.TempPathFactory) -> None:
    attempt = AttemptDirectory(tmp_path_factory.mktemp("console"))
    writer = Console(attempt.console, max_bytes=2000)
    reader = ConsoleReader(attempt, 0, follow=True)
    text = b""
    for piece in pieces:
        for line in piece:
            writer.feed(line, 0.0)
        text += everything(reader)
    writer.close()
    text += everything(reader) + reader.finish()
    assert text.decode() == b"".join(b"".join(piece) for piece in pieces).decode("utf-8", "replace")
