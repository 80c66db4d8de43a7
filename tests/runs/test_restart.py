"""Restart policies, and what the fold makes of them."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.runs import seed
from daemon.runs.fold import fold
from daemon.runs.policies import CAUSES, RestartPolicy, StallPolicy
from daemon.runs.restart import Again, GiveUp, decide, remaining_s
from daemon.runs.states import RunState
from daemon.runs.view import RunView
from daemon.settings.fields import RestartCause
from tests.runs.test_fold import NEW, PLACE, ended, told

POLICY = RestartPolicy(on=("crash", "stalled", "lost"), max_restarts=3, backoff_s=10, backoff_max_s=35, reset_after_s=600)


def queued(policy: RestartPolicy = POLICY, **stall: Any) -> dict[str, Any]:
    restart = {"on": list(policy.on), "max_restarts": policy.max_restarts, "backoff_s": policy.backoff_s,
               "backoff_max_s": policy.backoff_max_s, "reset_after_s": policy.reset_after_s}  # fmt: skip
    return {"type": "run.queued", "restart": restart, "stall": stall}


def training(attempt: int = 1) -> tuple[dict[str, Any], ...]:
    return (
        {"type": "run.starting", "attempt": attempt}, {"type": "trainer.spawned", "trainer": {"pid": 5}},
        {"type": "phase", "phase": "training"},
    )  # fmt: skip


def test_the_wait_doubles_up_to_its_cap() -> None:
    assert [POLICY.wait_s(restarts) for restarts in (0, 1, 2, 3, 10_000)] == [10, 20, 35, 35, 35]


def test_causes_are_the_same_in_settings_and_policies() -> None:
    assert set(get_args(RestartCause)) == CAUSES


@pytest.mark.parametrize(
    ("cause", "restarts", "trained_s", "then"),
    [
        ("crash", 0, 0.0, Again(110, 1)),
        ("crash", 2, 0.0, Again(135, 3)),
        ("crash", 3, 599.0, GiveUp("given up after 3 restarts (max_restarts = 3)")),
        ("crash", 3, 600.0, Again(110, 1)),
        ("cuda_oom", 0, 0.0, GiveUp()),
    ],
)
def test_a_policy_decides_by_cause_count_and_progress(cause: str, restarts: int, trained_s: float, then: Again | GiveUp) -> None:
    assert decide(POLICY, cause, restarts=restarts, trained_s=trained_s, ended=100) == then


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_no_clock_makes_a_wait_negative_or_longer_than_the_cap(at: float, now: float) -> None:
    assert 0 <= remaining_s(POLICY, at, now) <= POLICY.backoff_max_s


def test_the_default_never_restarts() -> None:
    view = told({"type": "run.queued"}, *training(), ended("crash"))
    assert (view.state, view.restart_at, view.error) == (RunState.FAILED, None, "it was crash")


def test_a_failed_attempt_leads_to_waiting_and_no_other_state_between() -> None:
    view = told(queued(), *training(), {"type": "step", **PLACE, "elapsed_s": 5.0}, ended("crash", last_backup="/b"))
    assert (view.state, view.restart_at, view.restarts, view.ended) == (RunState.WAITING_RESTART, 210.0, 1, None)
    assert (view.cause, view.error, view.last_backup) == ("crash", "it was crash", "/b")
    assert RunView.from_json(view.to_json()) == view
    again = told(*training(2), ended("crash"), view=view)
    assert (again.restarts, again.restart_at) == (2, 220.0)


def test_progress_in_an_attempt_resets_the_count_and_its_absence_does_not() -> None:
    view = told(queued(), *training(), ended("crash"), *training(2), {"type": "step", **PLACE, "elapsed_s": 700.0}, ended("crash"))
    assert view.restarts == 1
    assert told(*training(3), ended("crash"), view=view).restarts == 2


def test_after_the_last_restart_the_error_says_that_it_was_given_up() -> None:
    view = told(queued(RestartPolicy(on=("crash",), max_restarts=1)), *training(), ended("crash"), *training(2), ended("crash"))
    assert (view.state, view.error) == (RunState.FAILED, "it was crash; given up after 1 restart (max_restarts = 1)")


@pytest.mark.parametrize("end", [ended("crash"), ended("killed", evidence={"by": "stop"})])
def test_a_requested_stop_never_leads_to_a_restart(end: dict[str, Any]) -> None:
    policy = RestartPolicy(on=tuple(CAUSES))
    stopped = told(queued(policy), *training(), {"type": "stop.requested", "id": "c1"}, end)
    assert stopped.state in (RunState.FAILED, RunState.STOPPED)
    assert told(queued(policy), *training(), {"type": "stop.requested", "origin": "sigterm"}, end).restart_at is None


@pytest.mark.parametrize("cause", ["completed", "stopped", "released", "nothing_done"])
def test_a_good_end_never_leads_to_a_restart(cause: str) -> None:
    assert told(queued(RestartPolicy(on=tuple(CAUSES))), *training(), ended(cause)).restart_at is None


def test_a_kill_by_the_stall_watch_is_the_cause_stalled() -> None:
    killed = (
        {"type": "run.stalled", "since": 100.0},
        {"type": "stop.requested", "id": "stall-1"},
        ended("killed", evidence={"by": "stop"}),
    )
    view = told(queued(), *training(), *killed)
    assert (view.state, view.cause, view.error) == (
        RunState.WAITING_RESTART, "stalled", "no step for 100 s: killed by the stall watch",
    )  # fmt: skip
    unwanted = told(queued(RestartPolicy()), *training(), *killed)
    assert (unwanted.state, unwanted.cause) == (RunState.FAILED, "stalled")
    client = told(queued(), *training(), killed[0], killed[1], {"type": "stop.requested", "id": "c1"}, killed[2])
    assert client.state is RunState.STOPPED


def test_a_lost_run_waits_for_its_trainer_before_it_waits_for_its_restart() -> None:
    lost = told(queued(), *training(), {"type": "run.lost", "message": "gone", "trainer_alive": True})
    assert (lost.state, lost.restart_at) == (RunState.LOST, None)
    gone = told({"type": "run.orphan_ended", "message": "it backed up", "last_backup": "/o"}, view=lost)
    assert (gone.state, gone.last_backup) == (RunState.WAITING_RESTART, "/o")
    done = told({"type": "run.orphan_ended", "message": "it completed", "outcome": "completed"}, view=lost)
    assert done.state is RunState.LOST
    at_once = told(queued(), *training(), {"type": "run.lost", "message": "gone", "trainer_alive": False})
    assert at_once.state is RunState.WAITING_RESTART
    unwanted = told(queued(RestartPolicy()), *training(), {"type": "run.lost", "message": "gone", "trainer_alive": False})
    assert (unwanted.state, unwanted.ended is not None) == (RunState.LOST, True)


def test_a_second_word_on_the_same_end_changes_nothing() -> None:
    view = told(queued(), *training(), ended("crash"))
    assert told(ended("crash"), view=view).restart_at == view.restart_at
    assert told(ended("crash"), view=view).state is RunState.WAITING_RESTART


def test_clients_hear_of_a_restart_with_its_time() -> None:
    before = told(queued(), *training())
    record = {"v": 1, "seq": 9, "ts": 1.0, **ended("crash")}
    messages = dict(seed.messages(record, before, fold(before, record)))
    assert messages["training_state"]["state"] == "waiting_restart"
    assert (messages["training_state"]["status"], messages["training_state"]["is_training"]) == ("stopping", True)
    assert messages["log"]["message"] == "it was crash; restart 1 of 3 at 1970-01-01 00:03:30 UTC"


def test_a_cancelled_restart_is_a_stop() -> None:
    view = told({"type": "run.cancelled"}, view=told(queued(), *training(), ended("crash")))
    assert (view.state, view.cause) == (RunState.STOPPED, "stopped")


def test_policies_come_back_from_json_and_odd_ones_are_refused() -> None:
    assert RestartPolicy.from_json({"on": ["crash"], "new": 1}) == RestartPolicy(on=("crash",))
    assert StallPolicy.from_json({}) == StallPolicy()
    with pytest.raises(ValueError, match="no action"):
        StallPolicy.from_json({"action": "shout"})
    assert NEW.restart == RestartPolicy()
