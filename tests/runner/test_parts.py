"""The runner's parts alone: the ladder, the console, the cause, the journal on a full disk."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc.journal import JournalReader, JournalWriter
from trainer_runner.runner.cause import Evidence, classify
from trainer_runner.runner.console import LINE_BYTES, Console
from trainer_runner.runner.keeper import JournalKeeper
from trainer_runner.runner.ladder import StopLadder
from trainer_runner.trainer.channel import Channel, merge_steps
from trainer_runner.trainer.pace import Pace


def test_the_ladder_climbs_by_its_deadlines() -> None:
    ladder = StopLadder()
    assert [rung.kind for rung in ladder.request(0.0, 10.0, 5.0, force=False)] == ["command"]
    assert ladder.due(9.9) == []
    assert [rung.kind for rung in ladder.due(10.0)] == ["term"]
    assert ladder.due(14.9) == []
    assert [rung.kind for rung in ladder.due(15.0)] == ["kill"]
    assert [rung.kind for rung in ladder.due(16.0)] == ["kill_again"]


def test_a_second_stop_only_shortens_the_way() -> None:
    ladder = StopLadder()
    ladder.request(0.0, 10.0, 5.0, force=False)
    ladder.request(1.0, 100.0, 100.0, force=False)
    assert ladder.deadline == 10.0
    ladder.request(1.0, 2.0, 1.0, force=False)
    assert ladder.deadline == 3.0
    assert [rung.kind for rung in ladder.request(1.0, 0.0, 0.0, force=True)] == ["kill"]


def test_a_trainer_that_lingers_after_its_last_word_is_told_to_go() -> None:
    ladder = StopLadder()
    ladder.linger(0.0)
    assert ladder.due(59.0) == []
    assert [rung.kind for rung in ladder.due(60.0)] == ["term"]


def console_of(folder: Path, *pieces: bytes, max_bytes: int = 1 << 20) -> tuple[str, list[str]]:
    console = Console(folder / "console.log", max_bytes)
    for piece in pieces:
        console.feed(piece, now=1.0)
    tail = console.tail()
    console.close()
    return (folder / "console.log").read_text(errors="replace"), tail


def test_of_a_progress_bar_the_log_keeps_the_end(tmp_path: Path) -> None:
    frames = b"".join(b"\r%d%%|###" % number for number in range(20_000))
    log, tail = console_of(tmp_path, b"start\n", frames, b"\nend\n")
    assert log == "start\n19999%|###\nend\n"
    assert tail == ["start", "19999%|###", "end"]


def test_windows_line_ends_are_lines(tmp_path: Path) -> None:
    assert console_of(tmp_path, b"one\r\ntwo\r\n")[1] == ["one", "two"]


def test_a_line_of_ten_megabytes_is_cut_and_the_file_rotated(tmp_path: Path) -> None:
    log, _ = console_of(tmp_path, *[b"x" * 65536] * 160, b"\n")
    assert len(log) < LINE_BYTES + 100
    assert "bytes cut]" in log
    console_of(tmp_path, *[b"y" * 90 + b"\n"] * 100, max_bytes=1000)
    assert (tmp_path / "console.log.1").exists()
    assert (tmp_path / "console.log").stat().st_size <= 1000


@given(st.lists(st.binary(max_size=200), max_size=30))
def test_whatever_bytes_come_the_console_bears_them(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    _, tail = console_of(tmp_path_factory.mktemp("console"), *pieces)
    json.dumps(tail).encode()


def test_a_fatal_error_outranks_the_exit_code_and_a_last_word_outranks_both() -> None:
    error = {"cause": "nan_loss", "exception": "NotFiniteLossError", "message": "NaN", "where": "train"}
    assert classify(Evidence(1, error=error)).cause == "nan_loss"
    finished = {"outcome": "completed", "message": "done"}
    assert classify(Evidence(1, error=error, finished=finished)).cause == "completed"
    assert classify(Evidence(-9, oom_kills=1)).cause == "host_oom"
    assert classify(Evidence(-9, signals_sent=("SIGKILL",))).evidence["by"] == "stop"
    assert classify(Evidence(1, error={"cause": "made up"})).cause == "exception"


def test_on_a_full_disk_events_wait_in_memory_put_together_and_none_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = JournalKeeper(tmp_path, os.open(os.devnull, os.O_WRONLY))
    keeper.append({"type": "step", "global_step": 1})

    def full(*_: Any) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(JournalWriter, "append", full)
    for step in range(2, 600):
        keeper.append({"type": "step", "global_step": step})
    keeper.append({"type": "backup", "path": "/b"})
    held = []
    keeper.retry()
    held.append(keeper.is_held)
    monkeypatch.undo()
    keeper.retry()
    held.append(keeper.is_held)
    assert held == [True, False]
    keeper.close()
    reader = JournalReader(tmp_path)
    records = reader.read(1 << 20)
    reader.close()
    steps = [row["global_step"] for record in records for row in (record.get("rows") or [record]) if "global_step" in row]
    assert steps == list(range(1, 600))
    assert [record["type"] for record in records if record["type"] not in ("step", "steps")] == [
        "journal.held",
        "backup",
        "journal.resumed",
    ]


def test_steps_are_put_together_only_under_pressure_and_stay_in_order() -> None:
    few = [{"type": "step", "ts": 1.0, "global_step": number} for number in range(7)]
    assert merge_steps(few) == few
    mixed = [*few, {"type": "phase", "ts": 1.0}, *few, *few]
    merged = merge_steps(mixed)
    assert [event["type"] for event in merged] == ["step"] * 7 + ["phase", "steps"]
    assert [row["global_step"] for row in merged[-1]["rows"]] == [*range(7), *range(7)]


def test_a_runner_that_stands_still_costs_steps_only_past_the_limit_and_says_which() -> None:
    read, write = os.pipe()
    channel = Channel(write, lambda: print, limit_bytes=100_000)
    for step in range(1, 5000):
        channel.emit("step", {"global_step": step})
    channel.emit("phase", {"phase": "saving"})
    received = bytearray()
    while b'"saving"' not in received:
        received += os.read(read, 65536)
    channel.close()
    events = [json.loads(line) for line in received.decode().splitlines()]
    rows = [row["global_step"] for event in events for row in event.get("rows", [event]) if "global_step" in row]
    dropped = sum(event["count"] for event in events if event["type"] == "events.dropped")
    assert rows == sorted(set(rows))
    assert len(rows) + dropped == 4999
    os.close(read)


def test_the_pace_leaves_pauses_out() -> None:
    pace = Pace()
    pace.begin(0.0)
    assert pace.step(1.0, 1) == (1.0, 0.0)
    pace.step(2.0, 2)
    pace.hold(100.0)
    elapsed, speed = pace.step(103.0, 3)
    assert (elapsed, speed) == (3.0, 1.0)
