"""Levels of file systems, whose pause it is, and which ended runs are too old."""

import pytest

from daemon.runs.disk import DiskMarks, Room, level_of, reserve, worst
from daemon.runs.policies import DiskLevel
from daemon.runs.retention import Retention, removable
from daemon.runs.states import ENDED, RunState
from daemon.runs.view import RunView
from tests.runs.test_fold import TRAINING, told

GB = 1 << 30
MARKS = DiskMarks(reserve_bytes=3 * GB, low_bytes=2 * GB, hold_bytes=GB)


@pytest.mark.parametrize(
    ("free_gb", "before", "level"),
    [
        (2.0, "ok", "ok"), (1.9, "ok", "low"), (1.0, "ok", "low"), (0.9, "ok", "held"), (1.2, "held", "held"), (1.3, "held", "low"),
        (2.4, "low", "low"), (2.6, "low", "ok"), (2.6, "held", "ok"), (0.0, "low", "held"),
    ],
)  # fmt: skip
def test_a_level_is_entered_at_its_mark_and_left_a_quarter_above(free_gb: float, before: DiskLevel, level: DiskLevel) -> None:
    assert level_of(MARKS, Room("/w", 1000 * GB, int(free_gb * GB)), before) == level


def test_on_a_small_file_system_the_marks_are_small() -> None:
    tmpfs = Room("/t", 100, 4)
    assert (reserve(MARKS, tmpfs), level_of(MARKS, tmpfs, "ok")) == (10, "low")
    assert level_of(MARKS, Room("/t", 100, 1), "ok") == "held"


def test_marks_of_zero_bytes_are_never_reached() -> None:
    assert level_of(DiskMarks(0, 0, 0), Room("/w", 100, 0), "ok") == "ok"


def test_the_worst_room_counts_and_the_state_directory_only_warns() -> None:
    state, work = Room("/s", 1000 * GB, 0, may_hold=False), Room("/w", 1000 * GB, GB + 1)
    assert worst(MARKS, [state, work], "ok") == ("low", state)
    assert worst(MARKS, [], "held") == ("ok", None)


def test_who_paused_last_may_let_it_go_on() -> None:
    held = told(*TRAINING, {"type": "command.accepted", "id": "disk-1", "command": "pause"}, {"type": "paused"}, {"type": "disk.hold"})
    assert (held.state, held.held_by_disk, held.disk) == (RunState.PAUSED, True, "held")
    client = told({"type": "command.accepted", "id": "c1", "command": "pause"}, view=held)
    assert not client.held_by_disk
    assert told({"type": "command.accepted", "id": "c1", "command": "backup"}, view=held).held_by_disk
    assert not told({"type": "resumed"}, view=held).held_by_disk
    assert told({"type": "disk.ok"}, view=held).disk == "ok"


def runs(*states: RunState) -> list[RunView]:
    """Newest first; the oldest ended at 100 s, each one 100 s after the one before."""
    last = len(states)
    return [
        RunView(f"{last - index:06d}-aaaa", "builtin", state=state, ended=100.0 * (last - index) if state in ENDED else None)
        for index, state in enumerate(states)
    ]


def test_only_ended_runs_count_and_go() -> None:
    views = runs(RunState.QUEUED, RunState.COMPLETED, RunState.RELEASED, RunState.FAILED, RunState.WAITING_RESTART, RunState.STOPPED)
    assert removable(Retention(keep_runs=2), views, now=0) == ["000001-aaaa"]
    assert removable(Retention(), views, now=1e12) == []


def test_a_run_beyond_either_limit_goes() -> None:
    views = runs(*[RunState.COMPLETED] * 4)
    assert removable(Retention(keep_days=1), views, now=86_400 + 250) == ["000002-aaaa", "000001-aaaa"]
    assert removable(Retention(keep_runs=1, keep_days=1), views, now=86_400 + 250) == ["000003-aaaa", "000002-aaaa", "000001-aaaa"]
