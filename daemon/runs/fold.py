"""The fold of a run's history: (view, record) -> view. Pure, total and deterministic: a restarted daemon comes to the same view."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from daemon.runs.states import RunState, advance
from daemon.runs.view import Progress, RunView
from ipc.exit_record import COMPLETED, NOTHING_DONE, RELEASED, STOPPED

Record = dict[str, Any]

_PHASES = {"loading": RunState.LOADING, "training": RunState.TRAINING, "sampling": RunState.SAMPLING, "saving": RunState.SAVING}
_OUTCOMES = {COMPLETED: RunState.COMPLETED, STOPPED: RunState.STOPPED, RELEASED: RunState.RELEASED}


def fold(view: RunView, record: Record) -> RunView:
    """The view after *record*. A record that it does not know, or cannot make sense of, changes nothing."""
    take = _TAKES.get(str(record.get("type")))
    if take is None:
        return view
    try:
        return take(view, record)
    except (KeyError, TypeError, ValueError, IndexError):
        return view


def _to(view: RunView, state: RunState, **changes: Any) -> RunView:
    return replace(view, state=advance(view.state, state), **changes)


def _queued(view: RunView, record: Record) -> RunView:
    return replace(view, created=record["ts"])


def _starting(view: RunView, record: Record) -> RunView:
    return _to(
        view, RunState.STARTING, attempt=record["attempt"], started=view.started or record["ts"], ended=None, phase=RunState.LOADING,
        status_text="", cause=None, error=None, exit=None, continued_from=record.get("continue_from"), trainer_pid=None,
    )  # fmt: skip


def _requeued(view: RunView, _: Record) -> RunView:
    return _to(view, RunState.QUEUED)


def _start_failed(view: RunView, record: Record) -> RunView:
    return _to(view, RunState.FAILED, cause="start_failed", error=record["message"], ended=record["ts"])


def _cancelled(view: RunView, record: Record) -> RunView:
    return _to(view, RunState.STOPPED, cause="stopped", ended=record["ts"])


def _spawned(view: RunView, record: Record) -> RunView:
    return _to(view, RunState.LOADING, trainer_pid=record["trainer"]["pid"])


def _ready(view: RunView, record: Record) -> RunView:
    return replace(
        view, workspace_dir=record["workspace_dir"], samples_dir=record["samples_dir"], capabilities=tuple(record["capabilities"]),
        device=record.get("device"), python_version=record.get("python"), torch_version=record.get("torch"),
    )  # fmt: skip


def _status(view: RunView, record: Record) -> RunView:
    return replace(view, status_text=str(record["text"]))


def _phase(view: RunView, record: Record) -> RunView:
    phase = _PHASES[record["phase"]]
    return _to(view, phase, phase=phase)


def _step(view: RunView, record: Record) -> RunView:
    return replace(view, progress=progress_of(record))


def _steps(view: RunView, record: Record) -> RunView:
    return replace(view, progress=progress_of(record["rows"][-1]))


def _continued(view: RunView, record: Record) -> RunView:
    return replace(view, continued_from=record["backup"])


def _paused(view: RunView, _: Record) -> RunView:
    return _to(view, RunState.PAUSED)


def _resumed(view: RunView, _: Record) -> RunView:
    return _to(view, view.phase) if view.state is RunState.PAUSED else view


def _stop_requested(view: RunView, _: Record) -> RunView:
    return _to(view, RunState.STOPPING)


def _backup(view: RunView, record: Record) -> RunView:
    return replace(view, last_backup=record["path"])


def _save(view: RunView, record: Record) -> RunView:
    return replace(view, model_path=record["path"]) if record.get("trigger") == "final" else view


def _exited(view: RunView, record: Record) -> RunView:
    exit_record = record["exit"]
    cause = exit_record["cause"]
    by_stop = cause == "killed" and exit_record.get("evidence", {}).get("by") == "stop"
    state = RunState.STOPPED if by_stop else _OUTCOMES.get(cause, RunState.FAILED)
    told = cause in (NOTHING_DONE, "start_failed") or state is RunState.FAILED or by_stop
    return _to(
        view, state, cause=cause, error=exit_record["message"] if told else None, exit=exit_record, ended=exit_record["ended"],
        last_backup=exit_record.get("last_backup") or view.last_backup, model_path=exit_record.get("model_path") or view.model_path,
    )  # fmt: skip


def _lost(view: RunView, record: Record) -> RunView:
    return _to(view, RunState.LOST, cause="lost", error=record["message"], ended=record["ts"])


def _orphan_ended(view: RunView, record: Record) -> RunView:
    return replace(
        view, error=record["message"], ended=record["ts"],
        last_backup=record.get("last_backup") or view.last_backup, model_path=record.get("model_path") or view.model_path,
    )  # fmt: skip


def _sample_found(view: RunView, _: Record) -> RunView:
    return replace(view, samples=view.samples + 1)


def progress_of(step: Record) -> Progress:
    """The counters of a `step` event, or of a row of `steps`."""
    scalars: Record = step.get("scalars", {})
    return Progress(
        global_step=step["global_step"], epoch=step["epoch"], epoch_step=step["epoch_step"], epoch_sample=step["epoch_sample"],
        max_step=step["max_step"], max_epoch=step["max_epoch"],
        loss=scalars.get("loss/train_step"), smooth_loss=scalars.get("smooth_loss/train_step"),
        learning_rate=next((value for tag, value in scalars.items() if tag.startswith("lr/")), None),
        elapsed_s=step.get("elapsed_s", 0.0), steps_per_second=step.get("steps_per_second", 0.0),
    )  # fmt: skip


_TAKES: dict[str, Callable[[RunView, Record], RunView]] = {
    "run.queued": _queued, "run.starting": _starting, "run.requeued": _requeued, "run.start_failed": _start_failed,
    "run.cancelled": _cancelled, "run.ended": _exited, "run.lost": _lost, "run.orphan_ended": _orphan_ended, "sample.found": _sample_found,
    "trainer.spawned": _spawned, "trainer.ready": _ready, "status": _status, "phase": _phase, "step": _step, "steps": _steps,
    "continued": _continued, "paused": _paused, "resumed": _resumed, "stop.requested": _stop_requested, "backup": _backup, "save": _save,
    "runner.exited": _exited,
}  # fmt: skip
