"""When a training makes no step though it should: watched from look to look. Pure: seconds come in as arguments."""

from dataclasses import dataclass

from daemon.runs.states import RunState
from daemon.runs.view import RunView

_NOT_STEPPING = ("caching", "validation", "sampling", "backup", "saving")
"""In OneTrainer's status texts: work between two steps that may take hours, with no callback meanwhile."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """For how long nothing was heard. *mark* names the last sign of life; None while no step is due."""

    mark: tuple[object, ...] | None = None
    seconds: float = 0.0


def look(quiet: Quiet, view: RunView, elapsed_s: float, longest_s: float) -> Quiet:
    """What is known after another look, *elapsed_s* (monotonic) after the one before.

    A look that comes much later than the one before (a daemon that was stopped, a virtual machine that slept) counts for *longest_s*
    at most: in that time nobody was there to see steps, and the machine may not have run either.
    """
    mark = _mark(view)
    if mark is None or mark != quiet.mark:
        return Quiet(mark)
    return Quiet(mark, quiet.seconds + min(max(0.0, elapsed_s), longest_s))


def is_stalled(quiet: Quiet, view: RunView) -> bool:
    """Whether it has been quiet for as long as the run's policy allows."""
    return quiet.mark is not None and 0 < view.stall.after_s <= quiet.seconds


def _mark(view: RunView) -> tuple[object, ...] | None:
    if view.state is not RunState.TRAINING or any(word in view.status_text.lower() for word in _NOT_STEPPING):
        return None
    return view.attempt, view.progress.global_step if view.progress else None
