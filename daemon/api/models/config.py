"""`/config`."""

from typing import Any

from pydantic import Field

from daemon.api.models.common import QueryModel, RequestModel, ResponseModel, Success


class PresetInfo(ResponseModel):
    name: str
    path: str
    description: str | None = None
    last_modified: str | None = Field(None, description="ISO 8601, UTC.")
    source: str = Field(description="user, builtin, onetrainer, or folder for a config_dir.")
    group: str | None = Field(None, description="The folders between the one that was searched and the file.")
    error: str | None = Field(None, description="Why the file cannot be read.")


class PresetList(ResponseModel):
    presets: list[PresetInfo]
    count: int


class PresetQuery(QueryModel):
    config_dir: str | None = Field(None, description="Look in this folder instead; it must lie in the roots.")


class ConfigRequest(RequestModel):
    config: dict[str, Any]


class ConfigChange(ConfigRequest):
    partial: bool = Field(False, description="Lay config over what is there: objects merge deeply, lists replace.")


class ConfigResponse(ResponseModel):
    config: dict[str, Any]


class ConfigSaved(Success):
    config: dict[str, Any] = Field(description="As it is now.")


class ValidationResponse(ResponseModel):
    valid: bool
    errors: list[str]
    warnings: list[str]
