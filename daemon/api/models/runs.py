"""`/runs`, and what `/training` takes beyond the seed."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from daemon.api.models.common import QueryModel, RequestModel, ResponseModel
from daemon.api.models.samples import SampleGenerateRequest
from daemon.runs.policies import DiskLevel, StallAction
from daemon.runs.states import RunState
from daemon.settings.fields import RestartCause


class StopRequest(RequestModel):
    """All optional: `{}` or no body at all is the seed's stop."""

    force: bool = Field(default=False, description="Kill the trainer at once; nothing is saved.")
    grace_s: float | None = Field(default=None, ge=0, le=7 * 86400, allow_inf_nan=False, description="Seconds until SIGTERM.")
    term_s: float | None = Field(default=None, ge=0, le=86400, allow_inf_nan=False, description="Seconds from SIGTERM to SIGKILL.")


class PauseRequest(RequestModel):
    mode: Literal["hold", "release"] = Field(
        default="hold", description="hold: wait between two steps, memory kept. release: back up, end the trainer, free the memory."
    )


class SampleRequest(RequestModel):
    """Of one run: without `sample` its config's own samples are drawn."""

    sample: SampleGenerateRequest | None = None


class RestartFields(RequestModel):
    """What is left out is as the settings say."""

    on: list[RestartCause] | None = Field(default=None, description="Causes on which a failed run is started again; []: never.")
    max_restarts: int | None = Field(default=None, ge=0, le=1_000_000, description="In a row; then it is given up.")
    backoff_s: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="Before the first restart; doubled each time.")
    backoff_max_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    reset_after_s: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="Training for so long resets the count.")


class StallFields(RequestModel):
    """What is left out is as the settings say."""

    after_s: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="Seconds without a step; 0: never.")
    action: StallAction | None = None


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


class OverrideFields(RequestModel):
    """What goes below and above a config, in OneTrainer's order: the preset, the config over it, then single values."""

    preset: Annotated[str, Field(max_length=4096, json_schema_extra={"pattern": r"\S"}), AfterValidator(_not_empty)] | None = Field(
        default=None,
        description="A preset below the config: NAME, CATEGORY/NAME or ORIGIN/CATEGORY/NAME. Neither is migrated then, as in OneTrainer.",
    )  # fmt: skip
    config_values: list[str] | dict[str, Any] | None = Field(
        default=None,
        description="Set last, as OneTrainer's --config-value does: lines a.b.c=value, or an object of such keys and JSON values.",
        examples=[["optimizer.learning_rate=0.0003", "epochs=7"], {"epochs": 7}],
    )
    concepts: list[dict[str, Any]] | str | None = Field(default=None, description="Instead of the config's: a list, or a file's path.")
    samples: list[dict[str, Any]] | str | None = Field(default=None, description="Instead of the config's: a list, or a file's path.")


class RunRequest(OverrideFields):
    """One of `config` and `config_path`, or neither: then the preset is run alone or, without one, the current config."""

    config: dict[str, Any] | None = Field(default=None, description="The config itself.")
    config_path: str | None = Field(default=None, description="A config file inside the roots.")
    secrets_path: str | None = None
    name: str | None = Field(default=None, max_length=200)
    continue_from: str | None = Field(
        default=None, min_length=1, max_length=4096,
        description="Go on from this whole backup: its path, or its name in the backup folder of the config's workspace.",
    )  # fmt: skip
    restart: RestartFields | None = None
    stall: StallFields | None = None
    force: bool = Field(default=False, description="Queue it also where the disk has not room enough, or the config has errors.")


class RunProgress(ResponseModel):
    global_step: int
    epoch: int
    epoch_step: int
    epoch_sample: int
    max_step: int
    max_epoch: int
    loss: float | str | None
    smooth_loss: float | str | None
    learning_rate: float | str | None
    elapsed_s: float
    steps_per_second: float
    eta_s: float | None


class Restart(ResponseModel):
    on: list[str]
    max_restarts: int
    backoff_s: float
    backoff_max_s: float
    reset_after_s: float


class Stall(ResponseModel):
    after_s: float
    action: StallAction


class Run(ResponseModel):
    """A run as its history tells it. Times are Unix seconds."""

    id: str
    name: str | None
    state: RunState
    status_text: str
    backend: str
    attempt: int
    created: float
    started: float | None
    ended: float | None
    progress: RunProgress | None
    workspace_dir: str | None
    samples_dir: str | None
    capabilities: list[str]
    device: str | None
    cause: str | None
    error: str | None
    exit: dict[str, Any] | None
    last_backup: str | None
    model_path: str | None
    continued_from: str | None
    trainer_pid: int | None
    samples: int
    restart: Restart
    restarts: int = Field(description="In a row, since the last reset.")
    restart_at: float | None = Field(description="When a run that waits for its restart is started again.")
    stall: Stall
    stalled_since: float | None = Field(description="Since when there was no step; null while there are steps.")
    disk: DiskLevel = Field(description="Of the file systems that it writes to.")
    config_path: str | None
    preset: str | None = Field(description="What it was asked for with.")


class Runs(ResponseModel):
    runs: list[Run]
    count: int


class EventsQuery(QueryModel):
    since: str | None = Field(default=None, max_length=4096, description="A cursor that an earlier answer gave as `next`.")
    limit: int = Field(default=500, ge=1, le=5000)


class Events(ResponseModel):
    """Records of the run's history in order; `next` goes on behind the last one."""

    events: list[dict[str, Any]]
    count: int
    next: str
