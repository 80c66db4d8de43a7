"""`/runs`, and what `/training` takes beyond the seed."""

from typing import Any, Literal

from pydantic import Field

from daemon.api.models.common import QueryModel, RequestModel, ResponseModel
from daemon.api.models.samples import SampleGenerateRequest
from daemon.runs.states import RunState


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


class RunRequest(RequestModel):
    """One of `config` and `config_path`, or neither: then the current config is run."""

    config: dict[str, Any] | None = Field(default=None, description="The config itself.")
    config_path: str | None = Field(default=None, description="A config file inside the roots.")
    secrets_path: str | None = None
    name: str | None = Field(default=None, max_length=200)
    continue_from: str | None = Field(
        default=None, min_length=1, max_length=4096,
        description="Go on from this whole backup: its path, or its name in the backup folder of the config's workspace.",
    )  # fmt: skip


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
    config_path: str | None


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
