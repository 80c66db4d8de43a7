"""What is known of a run at one point of its history: the value that the fold carries."""

import functools
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from pydantic import TypeAdapter

from daemon.runs.policies import DiskLevel, RestartPolicy, StallPolicy
from daemon.runs.states import HAS_PLACE, LIVE, RunState


@dataclass(frozen=True, slots=True)
class Progress:
    """The training's counters after its last step; *epoch* and *epoch_step* begin at 0, *max_step* is the length of an epoch.

    Numbers of the loss are floats, or the strings "NaN", "Infinity", "-Infinity".
    """

    global_step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    epoch_sample: int = 0
    max_step: int = 0
    max_epoch: int = 0
    loss: float | str | None = None
    smooth_loss: float | str | None = None
    learning_rate: float | str | None = None
    elapsed_s: float = 0.0
    steps_per_second: float = 0.0

    @property
    def remaining_steps(self) -> int:
        return max(0, self.max_step * self.max_epoch - self.global_step)

    @property
    def eta_s(self) -> float | None:
        """Seconds to the end at the present speed; None while that is unknown."""
        return self.remaining_steps / self.steps_per_second if self.steps_per_second > 0 else None


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as its history tells it up to some record. Immutable; times are Unix seconds.

    *restarts* counts since the last reset; *trained_s* is of this attempt, by the trainer's own clock; *stop_requested* by a client or
    a signal, *stall_stop* by the stall watch; *orphan_gone*: no trainer of a lost run lives; *held_by_disk*: the disk guard has paused it.
    """

    run_id: str
    backend: str
    state: RunState = RunState.QUEUED
    attempt: int = 0
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    phase: RunState = RunState.LOADING
    status_text: str = ""
    progress: Progress | None = None
    workspace_dir: str | None = None
    samples_dir: str | None = None
    capabilities: tuple[str, ...] = ()
    device: str | None = None
    python_version: str | None = None
    torch_version: str | None = None
    cause: str | None = None
    error: str | None = None
    exit: dict[str, Any] | None = None
    last_backup: str | None = None
    model_path: str | None = None
    continued_from: str | None = None
    trainer_pid: int | None = None
    samples: int = 0
    restart: RestartPolicy = RestartPolicy()  # noqa: RUF009 - immutable
    stall: StallPolicy = StallPolicy()  # noqa: RUF009 - immutable
    restarts: int = 0
    restart_at: float | None = None
    trained_s: float = 0.0
    stop_requested: bool = False
    stall_stop: bool = False
    stalled_since: float | None = None
    orphan_gone: bool = False
    disk: DiskLevel = "ok"
    held_by_disk: bool = False

    @property
    def is_live(self) -> bool:
        return self.state in LIVE

    @property
    def has_place(self) -> bool:
        return self.state in HAS_PLACE

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for what another version wrote."""
        if set(value) != {field.name for field in fields(cls)}:
            raise ValueError("the fields of a view written by another version")
        found: Self = _reader().validate_python(value)
        return found


@functools.cache
def _reader() -> TypeAdapter[Any]:
    return TypeAdapter(RunView)
