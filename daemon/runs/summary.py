"""All runs in one line, for those who have room for no more (`systemctl status`). Pure."""

from collections.abc import Iterable

from daemon.runs.states import RunState
from daemon.runs.view import RunView

_NAMED = 4


def in_one_line(views: Iterable[RunView]) -> str:
    """What is at work, and how many wait."""
    views = list(views)
    busy = [view for view in views if view.has_place]
    waiting = sum(view.state is RunState.QUEUED for view in views)
    parts = [_one(view) for view in busy[:_NAMED]]
    if len(busy) > _NAMED:
        parts.append(f"{len(busy) - _NAMED} more")
    if waiting:
        parts.append(f"{waiting} in the queue")
    return ", ".join(parts) or "no training"


def _one(view: RunView) -> str:
    step = f" at step {view.progress.global_step}" if view.progress else ""
    return f"{view.run_id} {view.state}{step}"
