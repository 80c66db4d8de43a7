"""The pure heart: states, the fold, cursors, and the seed's words."""

import base64
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.errors import InvalidError
from daemon.runs import seed
from daemon.runs.fold import _TAKES, fold
from daemon.runs.spot import Cursor, Mark, Spot
from daemon.runs.states import ENDED, LIVE, TRANSITIONS, RunState, advance
from daemon.runs.view import Progress, RunView

NEW = RunView("000001-abcd", "builtin")
PLACE = {"global_step": 7, "epoch": 1, "epoch_step": 3, "epoch_sample": 12, "max_step": 4, "max_epoch": 5}


def told(*records: dict[str, Any], view: RunView = NEW) -> RunView:
    for number, record in enumerate(records):
        view = fold(view, {"v": 1, "seq": number + 1, "ts": 100.0 + number, **record})
    return view


STARTED = ({"type": "run.queued"}, {"type": "run.starting", "attempt": 1}, {"type": "trainer.spawned", "trainer": {"pid": 5}})
TRAINING = (*STARTED, {"type": "phase", "phase": "training"})


def ended(cause: str, **more: Any) -> dict[str, Any]:
    return {"type": "runner.exited", "exit": {"cause": cause, "message": f"it was {cause}", "ended": 200.0, **more}}


def test_every_state_has_its_row_and_ends_are_final() -> None:
    assert set(TRANSITIONS) == set(RunState)
    assert {after for state in ENDED for after in TRANSITIONS[state]} == {RunState.WAITING_RESTART}  # a lost run whose policy says so
    assert all(seed.SEED_STATUS[state] for state in RunState)
    reachable = {RunState.QUEUED}
    while (more := {after for state in reachable for after in TRANSITIONS[state]}) - reachable:
        reachable |= more
    assert reachable == set(RunState)


@given(st.sampled_from(RunState), st.sampled_from(RunState))
def test_the_table_alone_decides(current: RunState, wanted: RunState) -> None:
    assert advance(current, wanted) == (wanted if wanted in TRANSITIONS[current] else current)


def test_a_late_phase_does_not_bring_a_stopping_run_back_to_life() -> None:
    stopping = told(*TRAINING, {"type": "stop.requested"}, {"type": "phase", "phase": "saving"})
    assert (stopping.state, stopping.phase) == (RunState.STOPPING, RunState.SAVING)


def test_a_cursor_of_a_thousand_unread_runs_fits_into_a_url() -> None:
    unread = {f"{number:06d}-{number * 40503 % 65536:04x}": Mark() for number in range(1000)}
    cursor = Cursor().moved("001001-abcd", Mark(Spot(0, 0, 2)), unread)
    assert Cursor.decode(cursor.encode()) == cursor
    assert len(cursor.encode()) < 8000


def test_what_would_inflate_to_gigabytes_is_no_cursor() -> None:
    bomb = base64.urlsafe_b64encode(zlib.compress(b"[" * (64 << 20))).decode()
    with pytest.raises(InvalidError, match="not a cursor"):
        Cursor.decode(bomb)


def test_a_run_that_has_told_nothing_needs_no_mark_unless_a_later_one_has() -> None:
    queued, told_of = Mark(Spot(own_seq=1)), Mark(Spot(1, 4, 2))
    assert seed.messages({"type": "run.queued", "ts": 1.0}, NEW, told({"type": "run.queued"})) == []
    cursor = Cursor().moved("000001-aaaa", told_of).moved("000002-aaaa", queued)
    assert cursor == Cursor("000001-aaaa", {"000001-aaaa": told_of})
    cursor = cursor.moved("000003-aaaa", told_of, ["000002-aaaa"])
    assert cursor == Cursor("000003-aaaa", {"000001-aaaa": told_of, "000002-aaaa": Mark(), "000003-aaaa": told_of})
    assert cursor.moved("000002-aaaa", queued) == cursor


@pytest.mark.parametrize(
    ("exit_record", "state", "has_error"),
    [
        (ended("completed"), RunState.COMPLETED, False),
        (ended("stopped"), RunState.STOPPED, False),
        (ended("released"), RunState.RELEASED, False),
        (ended("nothing_done"), RunState.FAILED, True),
        (ended("cuda_oom"), RunState.FAILED, True),
        (ended("killed", evidence={"by": "stop"}), RunState.STOPPED, True),
        (ended("killed", evidence={}), RunState.FAILED, True),
    ],
)
def test_an_exit_cause_leads_to_its_state(exit_record: dict[str, Any], state: RunState, has_error: bool) -> None:
    view = told(*TRAINING, exit_record)
    assert (view.state, view.error is not None, view.ended) == (state, has_error, 200.0)


def test_a_released_run_goes_on_as_a_new_attempt_with_a_clean_slate() -> None:
    view = told(*TRAINING, {"type": "step", **PLACE}, ended("released", last_backup="/b"), {"type": "run.starting", "attempt": 2})
    assert (view.state, view.attempt, view.cause, view.exit, view.ended) == (RunState.STARTING, 2, None, None, None)
    assert view.last_backup == "/b"
    assert view.progress is not None
    assert view.started == 101.0


def test_a_pause_goes_back_to_the_phase_it_came_from() -> None:
    held = told(*TRAINING, {"type": "paused", "mode": "hold"})
    assert held.state is RunState.PAUSED
    assert told({"type": "resumed"}, view=held).state is RunState.TRAINING


def test_steps_that_were_put_together_count_as_the_last_of_them() -> None:
    rows = [{**PLACE, "global_step": step, "scalars": {"loss/train_step": "NaN", "lr/unet": 0.1}} for step in (1, 2, 3)]
    view = told(*TRAINING, {"type": "steps", "rows": rows})
    assert view.progress == Progress(3, 1, 3, 12, 4, 5, loss="NaN", learning_rate=0.1)


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))


@given(st.lists(st.tuples(st.sampled_from([*_TAKES, "unheard.of"]), st.dictionaries(st.sampled_from(["rows", *PLACE]), json_values))))
def test_the_fold_is_total_whatever_a_journal_says(records: list[tuple[str, dict[str, Any]]]) -> None:
    view = told(*({"type": kind, **fields} for kind, fields in records))
    assert view.state in RunState


def test_a_view_comes_back_from_json_and_another_versions_is_refused() -> None:
    view = told(*TRAINING, {"type": "step", **PLACE}, ended("completed"))
    assert RunView.from_json(view.to_json()) == view
    with pytest.raises(ValueError, match="another version"):
        RunView.from_json({**view.to_json(), "new": 1})


def test_a_step_is_told_in_the_seeds_words() -> None:
    record = {"type": "step", **PLACE, "elapsed_s": 3723.5, "steps_per_second": 2.0, "scalars": {"loss/train_step": 0.5}}
    [(kind, data)] = seed.messages(record, NEW, fold(NEW, record))
    assert kind == "progress"
    assert (data["current_step"], data["total_steps"], data["global_step"], data["total_global_steps"]) == (3, 4, 7, 20)
    assert (data["elapsed_time"], data["remaining_time"], data["eta_seconds"], data["loss"]) == ("01:02:03", "00:00:06", 6.5, 0.5)


SPOKEN = [
    "step", "steps", "sampling", "sample.found", "log", "error", "command.failed", "backup", "save", "events.dropped", "journal.damaged",
    "journal.held", "run.stalled", "disk.low", "disk.hold", "disk.ok", "run.lost", "run.start_failed", "run.requeued",
]  # fmt: skip
FIELDS = ["rows", "sample", "current", "evidence", "free", "elapsed_s", "scalars", "paused", *PLACE]
odd_values = json_values | st.floats() | st.lists(st.dictionaries(st.sampled_from([*PLACE, "elapsed_s"]), json_values))


@given(st.sampled_from(SPOKEN), st.dictionaries(st.sampled_from(FIELDS), odd_values))
def test_clients_are_told_of_every_record_whatever_is_in_it_or_lacks(kind: str, fields: dict[str, Any]) -> None:
    record = {"type": kind, **fields}
    before = told(*TRAINING)
    after = told(record, view=before)
    told_kinds = [message[0] for message in seed.messages(record, before, after)]
    assert ("training_state" in told_kinds) == (after.state is not before.state or after.error != before.error)


def test_a_record_without_its_fields_still_tells_what_it_changed() -> None:
    before = told(*TRAINING)
    lost = RunView("000001-abcd", "builtin", state=RunState.WAITING_RESTART, restart_at=1e300, error="it died")
    kinds = [kind for kind, _ in seed.messages({"type": "steps"}, before, lost)]
    assert kinds == ["log", "training_state"]


def test_every_state_is_training_or_not_as_the_api_says() -> None:
    for state in RunState:
        view = RunView("000001-abcd", "builtin", state=state)
        assert seed.is_training(view) == (state in LIVE | {RunState.WAITING_RESTART})


@given(st.dictionaries(st.from_regex(r"[0-9]{6}-[0-9a-f]{4}", fullmatch=True), st.tuples(*[st.integers(0, 2**40)] * 4), max_size=3))
def test_a_cursor_comes_back_as_it_was(marks: dict[str, tuple[int, int, int, int]]) -> None:
    cursor = Cursor("000001-abcd", {run: Mark(Spot(*numbers[:3]), numbers[3]) for run, numbers in marks.items()})
    assert Cursor.decode(cursor.encode()) == cursor


@given(st.text() | st.binary().map(lambda data: data.hex()))
def test_anything_else_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidError, match="not a cursor"):
        Cursor.decode(text)
