"""The states of a run, and which may follow which."""

from enum import StrEnum


class RunState(StrEnum):
    """Where a run is. The words are the API's."""

    QUEUED = "queued"
    STARTING = "starting"
    LOADING = "loading"
    TRAINING = "training"
    SAMPLING = "sampling"
    SAVING = "saving"
    PAUSED = "paused"
    RELEASED = "released"
    STOPPING = "stopping"
    WAITING_RESTART = "waiting_restart"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"


_S = RunState
WORKING = frozenset({_S.LOADING, _S.TRAINING, _S.SAMPLING, _S.SAVING, _S.PAUSED})
"""A trainer is there and nobody has told it to stop."""

LIVE = WORKING | {_S.STARTING, _S.STOPPING}
"""A runner is there, or about to be."""

HAS_PLACE = LIVE | {_S.WAITING_RESTART}
"""No other run starts in its place. One that waits for its restart keeps it: it has only just lost its trainer."""

ENDED = frozenset({_S.COMPLETED, _S.STOPPED, _S.FAILED, _S.LOST})

_AFTER_THE_RUNNER = ENDED | {_S.RELEASED, _S.WAITING_RESTART}

# Lost is an end, but for a run that its policy starts again once its trainer, which outlived the runner, has gone as well.
TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    _S.QUEUED: frozenset({_S.STARTING, _S.STOPPED}),
    _S.STARTING: frozenset({_S.LOADING, _S.STOPPING, _S.QUEUED}) | _AFTER_THE_RUNNER,
    _S.LOADING: (WORKING - {_S.LOADING}) | {_S.STOPPING} | _AFTER_THE_RUNNER,
    _S.TRAINING: WORKING | {_S.STOPPING} | _AFTER_THE_RUNNER,
    _S.SAMPLING: WORKING | {_S.STOPPING} | _AFTER_THE_RUNNER,
    _S.SAVING: WORKING | {_S.STOPPING} | _AFTER_THE_RUNNER,
    _S.PAUSED: WORKING | {_S.STOPPING} | _AFTER_THE_RUNNER,
    _S.STOPPING: _AFTER_THE_RUNNER,
    _S.RELEASED: frozenset({_S.STARTING, _S.QUEUED, _S.STOPPED}),
    _S.WAITING_RESTART: frozenset({_S.STARTING, _S.STOPPED, _S.FAILED}),
    _S.COMPLETED: frozenset(),
    _S.STOPPED: frozenset(),
    _S.FAILED: frozenset(),
    _S.LOST: frozenset({_S.WAITING_RESTART}),
}


def advance(current: RunState, wanted: RunState) -> RunState:
    """*wanted* where the table allows it, else *current*: a late phase of a stopping run does not bring it back to life."""
    return wanted if wanted in TRANSITIONS[current] else current
