"""The fold of a run's history: (view, record) -> view. Pure, total and deterministic: a restarted daemon comes to the same view."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from daemon.runs.policies import DISK_COMMAND, LOST, STALL_COMMAND, STALLED, RestartPolicy, StallPolicy
from daemon.runs.restart import Again, decide
from daemon.runs.states import ENDED, WORKING, RunState, advance
from daemon.runs.view import Progress, RunView
from ipc.exit_record import COMPLETED, RELEASED, STOPPED
from ipc.messages import number_from_json

Record = dict[str, Any]
STEPS = frozenset({"step", "steps"})

_PHASES = {"loading": RunState.LOADING, "training": RunState.TRAINING, "sampling": RunState.SAMPLING, "saving": RunState.SAVING}
_OUTCOMES = {COMPLETED: RunState.COMPLETED, STOPPED: RunState.STOPPED, RELEASED: RunState.RELEASED}


def fold(view: RunView, record: Record) -> RunView:
    """The view after *record*. A record that it does not know, or cannot make sense of, changes nothing."""
    take = _TAKES.get(str(record.get("type")))
    if take is None:
        return view
    try:
        return take(view, record)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return view


def fold_steps(view: RunView, steps: Sequence[Record]) -> RunView:
    """As `fold` of each of *steps*, which are `step` and `steps` records in a row: the last one that makes sense says it all."""
    return next((after for record in reversed(steps) if (after := fold(view, record)) is not view), view)


def _to(view: RunView, state: RunState, **changes: Any) -> RunView:
    return replace(view, state=advance(view.state, state), **changes)


def _queued(view: RunView, record: Record) -> RunView:
    return replace(
        view, created=record["ts"], restart=RestartPolicy.from_json(record.get("restart", {})),
        stall=StallPolicy.from_json(record.get("stall", {})),
    )  # fmt: skip


def _starting(view: RunView, record: Record) -> RunView:
    return _to(
        view, RunState.STARTING, attempt=record["attempt"], started=view.started or record["ts"], ended=None, phase=RunState.LOADING,
        status_text="", cause=None, error=None, exit=None, continued_from=record.get("continue_from"), trainer_pid=None,
        restart_at=None, trained_s=0.0, stop_requested=False, stall_stop=False, stalled_since=None, orphan_gone=False, held_by_disk=False,
    )  # fmt: skip


def _requeued(view: RunView, _: Record) -> RunView:
    return _to(view, RunState.QUEUED)


def _start_failed(view: RunView, record: Record) -> RunView:
    return _failed(view, "start_failed", record["message"], record["ts"])


def _cancelled(view: RunView, record: Record) -> RunView:
    return _to(view, RunState.STOPPED, cause="stopped", ended=record["ts"])


def _spawned(view: RunView, record: Record) -> RunView:
    return _to(view, RunState.LOADING, trainer_pid=_whole(record["trainer"]["pid"]))


def _ready(view: RunView, record: Record) -> RunView:
    return replace(
        view, workspace_dir=_text(record["workspace_dir"]), samples_dir=_text(record["samples_dir"]),
        capabilities=tuple(map(_text, record["capabilities"])), device=_text_or_none(record.get("device")),
        python_version=_text_or_none(record.get("python")), torch_version=_text_or_none(record.get("torch")),
    )  # fmt: skip


def _status(view: RunView, record: Record) -> RunView:
    return replace(view, status_text=str(record["text"]))


def _phase(view: RunView, record: Record) -> RunView:
    """OneTrainer says "caching" again at each epoch: once it trains, that is a phase of the training, and no second start."""
    phase = _PHASES[record["phase"]]
    is_again = phase is RunState.LOADING and view.state in WORKING - {RunState.LOADING}
    return _to(view, RunState.TRAINING if is_again else phase, phase=phase)


def _step(view: RunView, record: Record) -> RunView:
    return _stepped(view, record)


def _steps(view: RunView, record: Record) -> RunView:
    return _stepped(view, record["rows"][-1])


def _stepped(view: RunView, step: Record) -> RunView:
    progress = progress_of(step)
    return replace(view, progress=progress, trained_s=progress.elapsed_s, stalled_since=None)


def _continued(view: RunView, record: Record) -> RunView:
    return replace(view, continued_from=_text(record["backup"]))


def _paused(view: RunView, _: Record) -> RunView:
    return _to(view, RunState.PAUSED)


def _resumed(view: RunView, _: Record) -> RunView:
    view = replace(view, held_by_disk=False)
    phase = RunState.TRAINING if view.phase is RunState.LOADING else view.phase
    return _to(view, phase) if view.state is RunState.PAUSED else view


def _accepted(view: RunView, record: Record) -> RunView:
    """Who pauses a run last is who may let it go on: the disk guard, or a client."""
    if record["command"] not in ("pause", "resume"):
        return view
    return replace(view, held_by_disk=record["command"] == "pause" and record["id"].startswith(DISK_COMMAND))


def _stop_requested(view: RunView, record: Record) -> RunView:
    if str(record.get("id")).startswith(STALL_COMMAND):
        return _to(view, RunState.STOPPING, stall_stop=True)
    return _to(view, RunState.STOPPING, stop_requested=True)


def _backup(view: RunView, record: Record) -> RunView:
    return replace(view, last_backup=_text(record["path"]))


def _save(view: RunView, record: Record) -> RunView:
    return replace(view, model_path=_text(record["path"])) if record.get("trigger") == "final" else view


def _exited(view: RunView, record: Record) -> RunView:
    exit_record = record["exit"]
    cause, message, ended = exit_record["cause"], exit_record["message"], exit_record["ended"]
    by_stop = cause == "killed" and exit_record.get("evidence", {}).get("by") == "stop"
    view = replace(
        view, exit=exit_record,
        last_backup=exit_record.get("last_backup") or view.last_backup, model_path=exit_record.get("model_path") or view.model_path,
    )  # fmt: skip
    if by_stop and view.stall_stop and not view.stop_requested:
        return _failed(view, STALLED, f"no step for {ended - (view.stalled_since or ended):.0f} s: killed by the stall watch", ended)
    state = RunState.STOPPED if by_stop else _OUTCOMES.get(cause, RunState.FAILED)
    if state is RunState.FAILED:
        return _failed(view, cause, message, ended)
    by_watch = view.stalled_since is not None and view.stall.action == "stop" and state is RunState.STOPPED
    error = f"stopped by the stall watch: {message}" if by_watch else message if by_stop else None
    return _to(view, state, cause=cause, error=error, ended=ended)


def _failed(view: RunView, cause: str, message: str, ended: float, state: RunState = RunState.FAILED) -> RunView:
    """The end of an attempt that nobody wanted: the run waits for its restart where its policy says so, else it is *state*."""
    if view.state is RunState.WAITING_RESTART:
        return view  # it is decided already
    if view.stop_requested:
        return _to(view, state, cause=cause, error=message, ended=ended)
    match decide(view.restart, cause, restarts=view.restarts, trained_s=view.trained_s, ended=ended):
        case Again(at, restarts):
            return _to(view, RunState.WAITING_RESTART, cause=cause, error=message, ended=None, restart_at=at, restarts=restarts)
        case give_up:
            error = f"{message}; {give_up.why}" if give_up.why else message
            return _to(view, state, cause=cause, error=error, ended=ended)


def _lost(view: RunView, record: Record) -> RunView:
    """A trainer that still lives, and saves what it has, comes first: nothing is started beside it."""
    if record.get("trainer_alive"):
        return _to(view, RunState.LOST, cause=LOST, error=record["message"], ended=record["ts"])
    return replace(_failed(view, LOST, record["message"], record["ts"], RunState.LOST), orphan_gone=True)


def _orphan_ended(view: RunView, record: Record) -> RunView:
    was_waited_for = not view.orphan_gone
    view = replace(
        view, error=record["message"], orphan_gone=True,
        last_backup=record.get("last_backup") or view.last_backup, model_path=record.get("model_path") or view.model_path,
    )  # fmt: skip
    if view.state is not RunState.LOST:
        return view
    if not was_waited_for or record.get("outcome") == COMPLETED:
        return replace(view, ended=record["ts"])
    return _failed(view, LOST, record["message"], record["ts"], RunState.LOST)


def _stalled(view: RunView, record: Record) -> RunView:
    return replace(view, stalled_since=record["since"])


def _disk_low(view: RunView, _: Record) -> RunView:
    return replace(view, disk="low")


def _disk_hold(view: RunView, _: Record) -> RunView:
    return replace(view, disk="held")


def _disk_ok(view: RunView, _: Record) -> RunView:
    return replace(view, disk="ok")


def _settled(view: RunView, record: Record) -> RunView:
    """The daemon's own word on the end. It counts where the attempt's journal, which says more, is not there any more."""
    if view.state in ENDED or record["attempt"] != view.attempt:
        return view
    return replace(
        view, state=RunState(record["state"]), cause=_text_or_none(record["cause"]), ended=record["ts"],
        error="it has ended; the journal of its attempt is lost",
    )  # fmt: skip


def _sample_found(view: RunView, _: Record) -> RunView:
    return replace(view, samples=view.samples + 1)


def progress_of(step: Record) -> Progress:
    """The counters of a `step` event, or of a row of `steps`. Raises KeyError or TypeError for what is none."""
    scalars: Record = step.get("scalars", {})
    return Progress(
        **{name: _whole(step[name]) for name in ("global_step", "epoch", "epoch_step", "epoch_sample", "max_step", "max_epoch")},
        loss=_scalar(scalars.get("loss/train_step")), smooth_loss=_scalar(scalars.get("smooth_loss/train_step")),
        learning_rate=_scalar(next((value for tag, value in scalars.items() if tag.startswith("lr/")), None)),
        elapsed_s=float(step.get("elapsed_s", 0.0)), steps_per_second=float(step.get("steps_per_second", 0.0)),
    )  # fmt: skip


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no whole number")
    return value


def _scalar(value: Any) -> float | str | None:
    """As it stands in the journal: a number, or one of the words for what JSON lacks."""
    if value is None:
        return None
    number_from_json(value)
    found: float | str = value
    return found


_TAKES: dict[str, Callable[[RunView, Record], RunView]] = {
    "run.queued": _queued, "run.starting": _starting, "run.requeued": _requeued, "run.start_failed": _start_failed,
    "run.cancelled": _cancelled, "run.ended": _exited, "run.lost": _lost, "run.orphan_ended": _orphan_ended,
    "sample.found": _sample_found, "run.settled": _settled,
    "trainer.spawned": _spawned, "trainer.ready": _ready, "status": _status, "phase": _phase, "step": _step, "steps": _steps,
    "continued": _continued, "paused": _paused, "resumed": _resumed, "stop.requested": _stop_requested, "backup": _backup, "save": _save,
    "runner.exited": _exited, "command.accepted": _accepted, "run.stalled": _stalled, "disk.low": _disk_low, "disk.hold": _disk_hold,
    "disk.ok": _disk_ok,
}  # fmt: skip
