"""`/training`."""

from typing import Literal

from pydantic import Field

from daemon.api.models.common import RequestModel, ResponseModel

SeedStatus = Literal["idle", "starting", "training", "paused", "stopping", "stopped", "completed", "error"]


class StartRequest(RequestModel):
    config_path: str = Field(description="A config file inside the roots; empty: the current config.")
    secrets_path: str | None = None
    force: bool = Field(default=False, description="Start also where the disk has not room enough.")


class Status(ResponseModel):
    is_training: bool
    status: SeedStatus
    error: str | None = None


class Progress(ResponseModel):
    epoch: int
    epoch_step: int
    epoch_sample: int
    global_step: int


class ProgressResponse(ResponseModel):
    progress: Progress | None = None
    max_step: int = Field(0, description="Steps per epoch.")
    max_epoch: int = 0
