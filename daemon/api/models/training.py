"""`/training`."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from daemon.api.models.common import ResponseModel
from daemon.api.models.runs import OverrideFields

SeedStatus = Literal["idle", "starting", "training", "paused", "stopping", "stopped", "completed", "error"]


class StartRequest(OverrideFields):
    """The seed's `{config_path}`, or one of the other forms: `config`, `preset`, or both."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [
        {"required": ["config_path"], "properties": {"config_path": {"type": "string"}}},
        {"required": ["config"], "properties": {"config": {"type": "object"}}},
        {"required": ["preset"], "properties": {"preset": {"type": "string"}}},
    ]})  # fmt: skip

    config: dict[str, Any] | None = Field(default=None, description="The config itself, instead of a path.")
    config_path: str | None = Field(
        default=None, validate_default=True, description="A config file inside the roots; empty: the current config."
    )
    secrets_path: str | None = None
    force: bool = Field(default=False, description="Start also where the disk has not room enough, or the config has errors.")

    @field_validator("config_path")
    @classmethod
    def _is_there_or_not_needed(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("config") is None and info.data.get("preset") is None:
            raise PydanticCustomError("missing", "Field required, or one of config and preset")
        return value


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
