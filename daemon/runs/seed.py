"""A run in the words of the seed API: STATE, progress, and the messages of `/ws`. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from daemon.runs.fold import Record, progress_of
from daemon.runs.states import RunState
from daemon.runs.view import Progress, RunView

Message = tuple[str, Mapping[str, Any]]
"""A message's type, and its data."""
_SENSELESS = (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, OSError)
"""What a record with odd fields raises; OSError comes from times that the C library does not know."""

_S = RunState
SEED_STATUS: dict[RunState, str] = {
    _S.QUEUED: "idle",
    _S.STARTING: "starting",
    _S.LOADING: "starting",
    _S.TRAINING: "training",
    _S.SAMPLING: "training",
    _S.SAVING: "training",
    _S.PAUSED: "paused",
    _S.RELEASED: "paused",
    _S.STOPPING: "stopping",
    _S.WAITING_RESTART: "stopping",
    _S.COMPLETED: "completed",
    _S.STOPPED: "stopped",
    _S.FAILED: "error",
    _S.LOST: "error",
}
_IS_TRAINING = frozenset({_S.STARTING, _S.LOADING, _S.TRAINING, _S.SAMPLING, _S.SAVING, _S.PAUSED, _S.STOPPING, _S.WAITING_RESTART})

IDLE: Mapping[str, Any] = {"is_training": False, "status": "idle", "progress": None, "max_step": 0, "max_epoch": 0, "error": None}


def is_training(view: RunView) -> bool:
    """From starting to stopping, paused included; not queued, released or ended."""
    return view.state in _IS_TRAINING


def state(view: RunView | None) -> Mapping[str, Any]:
    """STATE of API.md; *view* None: no run since the start of the daemon."""
    if view is None:
        return IDLE
    progress = view.progress
    return {
        "is_training": is_training(view),
        "status": SEED_STATUS[view.state],
        "progress": counters(progress) | {"loss": progress.loss, "smooth_loss": progress.smooth_loss} if progress else None,
        "max_step": progress.max_step if progress else 0,
        "max_epoch": progress.max_epoch if progress else 0,
        "error": view.error,
        "state": view.state,
        "status_text": view.status_text,
    }


def counters(progress: Progress) -> dict[str, Any]:
    """OneTrainer's TrainProgress."""
    return {
        "epoch": progress.epoch,
        "epoch_step": progress.epoch_step,
        "epoch_sample": progress.epoch_sample,
        "global_step": progress.global_step,
    }


def messages(record: Record, before: RunView, after: RunView) -> list[Message]:
    """What a client of `/ws` hears of *record*, which led from *before* to *after*; most often nothing or one message. Total, as the fold
    is: of a record that makes no sense only what it changed is told."""
    try:
        found = _told(record)
    except _SENSELESS:
        found = []
    if after.state is not before.state and after.state is RunState.WAITING_RESTART:
        found.append(("log", {"level": "warning", "message": _restart_line(after)}))
    if (before.state, before.error, before.status_text) != (after.state, after.error, after.status_text):
        found.append(("training_state", state(after)))
    return found


def _told(record: Record) -> list[Message]:
    match record.get("type"):
        case "step":
            return [("progress", progress_data(progress_of(record)))]
        case "steps":
            return [("progress", progress_data(progress_of(row))) for row in record["rows"]]
        case "sampling":
            return [("sampling", {"current": record["current"], "total": record["total"], "kind": record.get("kind")})]
        case "sample.found":
            kind = "sample_custom" if record["sample"].get("kind") == "custom" else "sample_default"
            return [(kind, record["sample"])]
        case _:
            return [("log", data) for data in log_lines(record)]


def _restart_line(view: RunView) -> str:
    try:
        at = datetime.fromtimestamp(view.restart_at or 0.0, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except _SENSELESS:
        at = f"second {view.restart_at}"
    return f"{view.error}; restart {view.restarts} of {view.restart.max_restarts} at {at}"


def progress_data(progress: Progress) -> Mapping[str, Any]:
    """The `progress` message. Steps count within the epoch, *global_step* over the run; the epoch begins at 0, as OneTrainer's does."""
    eta_s = progress.eta_s
    return {
        "current_epoch": progress.epoch,
        "total_epochs": progress.max_epoch,
        "current_step": progress.epoch_step,
        "total_steps": progress.max_step,
        "epoch_step": progress.epoch_step,
        "epoch_length": progress.max_step,
        "global_step": progress.global_step,
        "total_global_steps": progress.max_step * progress.max_epoch,
        "loss": progress.loss,
        "smooth_loss": progress.smooth_loss,
        "learning_rate": progress.learning_rate,
        "elapsed_time": clock(progress.elapsed_s),
        "remaining_time": clock(eta_s) if eta_s is not None else None,
        "eta_seconds": round(eta_s, 1) if eta_s is not None else None,
        "steps_per_second": progress.steps_per_second,
    }


def clock(seconds: float) -> str:
    """HH:MM:SS; hours go on beyond 99."""
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def log_lines(record: Record) -> list[Mapping[str, str]]:
    """What of *record* is worth a line for people."""
    match record.get("type"):
        case "log":
            return [{"level": str(record.get("level")), "message": str(record.get("message"))}]
        case "error":
            return [{"level": "error", "message": f"{record.get('where')}: {record.get('exception')}: {record.get('message')}"}]
        case "command.failed":
            return [{"level": "warning", "message": f"{record.get('command')} failed: {record.get('message')}"}]
        case "backup":
            return [{"level": "info", "message": f"backup at step {record.get('global_step')}: {record.get('path')}"}]
        case "save":
            return [{"level": "info", "message": f"saved at step {record.get('global_step')}: {record.get('path')}"}]
        case "events.dropped":
            return [{"level": "warning", "message": f"{record.get('count')} events of the {record.get('where')} were dropped"}]
        case "journal.damaged":
            return [{"level": "error", "message": f"the run's journal is damaged, and was read on: {record.get('damage')}"}]
        case "journal.held":
            return [{"level": "error", "message": f"the journal waits for room on the disk: {record.get('error')}"}]
        case "run.stalled":
            return [{"level": "error", "message": _stall_line(record)}]
        case "disk.low":
            return [{"level": "warning", "message": f"the disk fills up: {_room(record)}"}]
        case "disk.hold":
            then = "the training is paused until there is room again" if record.get("paused") else "the training cannot be paused"
            return [{"level": "error", "message": f"the disk is full: {_room(record)}; {then}"}]
        case "disk.ok":
            return [{"level": "info", "message": f"there is room again: {_room(record)}"}]
        case "run.lost" | "run.start_failed" | "run.requeued":
            return [{"level": "error", "message": str(record.get("message"))}]
        case _:
            return []


def _stall_line(record: Record) -> str:
    seen: Record = record.get("evidence") or {}
    action = {"stop": "; it is stopped", "restart": "; it is killed"}.get(str(record.get("action")), "")
    return (
        f"no step for {record.get('after_s')} s, the last one was {seen.get('global_step')}; the trainer's process is in state "
        f"{seen.get('process_state')}, has used {seen.get('cpu_s')} s of CPU, and last printed {seen.get('console')!r}{action}"
    )


def _room(record: Record) -> str:
    return f"{int(record.get('free', 0)) >> 20} MiB are free at {record.get('path')}"
