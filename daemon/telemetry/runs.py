"""Runs: how many in which state, and how each live one gets on."""

from collections import Counter

from daemon.runs.states import ENDED, RunState
from daemon.supervisor.live import LiveRun
from daemon.supervisor.supervisor import Supervisor
from daemon.telemetry.sheet import Sheet


def fill_runs(supervisor: Supervisor, sheet: Sheet) -> None:
    runs = supervisor.runs()
    states = Counter(run.view.state for run in runs)
    for state in RunState:
        sheet.tell("runs", states[state], state=state)
    ends = Counter((run.view.state, run.view.cause or "") for run in runs if run.view.state in ENDED)
    for (state, cause), count in sorted(ends.items()):
        sheet.tell("ended_runs", count, state=state, cause=cause)
    sheet.tell("queue_length", states[RunState.QUEUED])
    sheet.tell("places", supervisor.places)
    sheet.tell("places_taken", sum(run.occupies_a_place for run in runs))
    for run in runs:
        if run.view.is_live:
            _fill_run(run, sheet)


def _fill_run(run: LiveRun, sheet: Sheet) -> None:
    view, run_id = run.view, run.run_id
    sheet.tell("run_info", 1, run_id=run_id, state=view.state, backend=view.backend, device=view.device or "")
    values = {
        "started_timestamp_seconds": view.started, "attempt": view.attempt, "restarts": view.restarts, "samples": view.samples,
        "stalled": int(view.stalled_since is not None), "held_by_disk": int(view.held_by_disk),
        "last_event_timestamp_seconds": run.history.last_event_at, "unread_bytes": run.history.unread_bytes(),
    }  # fmt: skip
    if progress := view.progress:
        speed = progress.steps_per_second
        values |= {
            "global_step": progress.global_step, "planned_steps": progress.max_step * progress.max_epoch, "epoch": progress.epoch,
            "planned_epochs": progress.max_epoch, "steps_per_second": speed, "step_duration_seconds": 1 / speed if speed > 0 else None,
            "remaining_seconds": progress.eta_s,
        }  # fmt: skip
        for name in ("loss", "smooth_loss", "learning_rate"):
            sheet.tell(f"run_{name}", getattr(progress, name), run_id=run_id)
    for name, value in values.items():
        sheet.tell(f"run_{name}", value, run_id=run_id)
