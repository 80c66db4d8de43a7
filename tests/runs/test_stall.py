"""When it is too quiet, by whichever clock."""

from dataclasses import replace
from typing import Any

import pytest

from daemon.runs.policies import StallPolicy
from daemon.runs.stall import Quiet, is_stalled, look
from daemon.runs.states import RunState
from daemon.runs.view import Progress, RunView
from tests.runs.test_fold import PLACE, TRAINING, told

VIEW = RunView("000001-abcd", "builtin", state=RunState.TRAINING, attempt=1, stall=StallPolicy(after_s=60))


def after(*looks: tuple[RunView, float]) -> Quiet:
    quiet = Quiet()
    for view, elapsed_s in looks:
        quiet = look(quiet, view, elapsed_s, longest_s=10)
    return quiet


def test_quiet_adds_up_while_no_step_comes() -> None:
    quiet = after((VIEW, 5), *[(VIEW, 5)] * 11)
    assert (quiet.seconds, is_stalled(quiet, VIEW)) == (55, False)
    assert is_stalled(after((VIEW, 5), *[(VIEW, 5)] * 12), VIEW)


def test_a_step_and_a_new_attempt_begin_anew() -> None:
    stepped = replace(VIEW, progress=Progress(global_step=1))
    assert after(*[(VIEW, 5)] * 9, (stepped, 5)).seconds == 0
    assert after(*[(VIEW, 5)] * 9, (replace(VIEW, attempt=2), 5)).seconds == 0


@pytest.mark.parametrize("jump_s", [86_400.0, -3600.0])
def test_a_look_that_comes_a_day_late_or_a_clock_that_goes_back_does_not_count(jump_s: float) -> None:
    assert after((VIEW, 5), (VIEW, jump_s), (VIEW, 5)).seconds <= 15


@pytest.mark.parametrize(
    "changes",
    [
        {"state": RunState.PAUSED}, {"state": RunState.SAMPLING}, {"state": RunState.SAVING}, {"state": RunState.LOADING},
        {"state": RunState.STOPPING}, {"status_text": "Starting epoch/caching"}, {"status_text": "Creating backup"},
        {"status_text": "Calculating validation loss"},
    ],
)  # fmt: skip
def test_work_that_makes_no_steps_is_no_stall(changes: dict[str, Any]) -> None:
    view = replace(VIEW, **changes)
    quiet = after(*[(view, 5)] * 100)
    assert (quiet, is_stalled(quiet, view)) == (Quiet(), False)
    assert is_stalled(after(*[(replace(VIEW, status_text="Training ..."), 5)] * 14), VIEW)


def test_zero_seconds_mean_never() -> None:
    view = replace(VIEW, stall=StallPolicy(after_s=0))
    assert not is_stalled(after(*[(view, 5)] * 1000), view)


def test_a_stall_is_told_until_the_next_step() -> None:
    stalled = told(*TRAINING, {"type": "run.stalled", "since": 50.0})
    assert stalled.stalled_since == 50.0
    assert told({"type": "step", **PLACE}, view=stalled).stalled_since is None


def test_who_stopped_a_stalled_run_is_told() -> None:
    stall = {"type": "run.queued", "stall": {"action": "stop"}}
    end = {"type": "runner.exited", "exit": {"cause": "stopped", "message": "stopped at step 3", "ended": 200.0}}
    view = told(stall, *TRAINING[1:], {"type": "run.stalled", "since": 50.0}, {"type": "stop.requested", "id": "c1"}, end)
    assert (view.state, view.error) == (RunState.STOPPED, "stopped by the stall watch: stopped at step 3")
