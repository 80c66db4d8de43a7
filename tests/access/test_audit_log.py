"""The file: its lines, its rotation, and what a bad disk costs."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from daemon.access.audit_log import AuditLog
from ipc.atomic import write_all


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def write(log: AuditLog, *numbers: int) -> None:
    async with log.writing():
        for number in numbers:
            log.put("call", {"number": number})


def made(path: Path, **options: int) -> AuditLog:
    return AuditLog(path, lambda: 1_800_000_000.1234, **options)


async def test_each_record_is_a_line_in_a_file_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    await write(made(path), 1, 2)
    await write(made(path), 3)
    assert lines(path) == [{"v": 1, "ts": 1_800_000_000.123, "event": "call", "number": number} for number in (1, 2, 3)]
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_file_that_others_could_read_is_closed_to_them_and_a_torn_line_is_closed_off(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text('{"torn": ')
    path.chmod(0o644)
    await write(made(path), 1)
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text().splitlines()[1])["number"] == 1


async def test_it_is_rotated_by_size_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for number in range(12):
        await write(made(path, max_bytes=150, kept=3), number)
    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert names == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2", "audit.jsonl.3"]
    numbers = [line["number"] for name in reversed(names) for line in lines(tmp_path / name)]
    assert numbers == list(range(12))[-len(numbers) :]
    assert len(numbers) >= 4
    assert all((tmp_path / name).stat().st_size <= 150 for name in names)


async def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = made(path)
    log._write([b'{"number": 1}\n'])
    path.rename(tmp_path / "elsewhere")
    log._write([b'{"number": 2}\n'])
    assert (lines(tmp_path / "elsewhere"), lines(path)) == ([{"number": 1}], [{"number": 2}])


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="there is no /dev/full here")
async def test_a_full_disk_is_told_once_and_how_many_lines_it_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "audit.jsonl"
    log = made(path)
    log._write([b'{"number": 0}\n'])

    def half_full(fd: int, data: bytes) -> None:
        os.write(fd, data[:5])
        with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123 - for its error
            full.write(data)

    monkeypatch.setattr("daemon.access.audit_log.write_all", half_full)
    for number in (1, 2, 3):
        log._write([json.dumps({"number": number}).encode() + b"\n"])
    assert lines(path) == [{"number": 0}]  # and no half of a line
    assert caplog.text.count("No space left on device") == 1
    monkeypatch.setattr("daemon.access.audit_log.write_all", write_all)
    log._write([b'{"number": 4}\n'])
    assert [line.get("number", line.get("count")) for line in lines(path)] == [0, 3, 4]
    assert lines(path)[1]["event"] == "audit.lost"
    assert "3 lines are lost" in caplog.text
    log._write([b'{"number": 5}\n'])
    assert lines(path)[-1] == {"number": 5}


@pytest.mark.parametrize("what", ["folder", "pipe", "link"])
async def test_what_is_no_file_costs_the_lines_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str) -> None:
    path = tmp_path / "audit.jsonl"
    match what:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.symlink_to("elsewhere")
    await write(made(path), 1, 2)
    assert caplog.text.count("cannot be written") == 1
    assert not (tmp_path / "elsewhere").exists()


async def test_a_disk_that_hangs_costs_lines_beyond_ten_thousand_and_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, may_go_on, is_stuck = tmp_path / "audit.jsonl", threading.Event(), threading.Event()

    def hang(fd: int, data: bytes) -> None:
        is_stuck.set()
        may_go_on.wait(60)
        write_all(fd, data)

    monkeypatch.setattr("daemon.access.audit_log.write_all", hang)
    log = made(path)
    async with log.writing():
        log.put("call", {"number": -1})
        assert is_stuck.wait(60)
        for number in range(10_500):
            log.put("call", {"number": number})
        may_go_on.set()
    found = lines(path)
    assert [line["number"] for line in found if line["event"] == "call"] == [-1, *range(10_000)]
    assert [line["count"] for line in found if line["event"] == "audit.lost"] == [500]
