"""`/config`."""

from typing import Any, Literal
from urllib.parse import quote, urlencode

from pydantic import ConfigDict, Field, computed_field

from daemon.api.models.common import FOR_ADMINS, QueryModel, RequestModel, ResponseModel, Success

_CATEGORY = "The folders around it, with / between them; . for none. Left out: any."


class PresetInfo(ResponseModel):
    """One file. Its name, category and origin together name it, and so do `ref` and `url`."""

    name: str
    path: str
    description: str | None = None
    last_modified: str | None = Field(None, description="ISO 8601, UTC.")
    origin: str = Field(description="user, builtin, onetrainer, or folder for a config_dir.")
    category: str | None = Field(None, description="The folders between the one that was searched and the file.")
    ref: str | None = Field(None, description="ORIGIN/CATEGORY/NAME, as a start takes it; null for a config_dir.")
    shadowed: bool = Field(description="The name alone means another preset, which comes first: add category and origin.")
    source: str = Field(description="The same as origin.")
    group: str | None = Field(None, description="The same as category.")
    error: str | None = Field(None, description="Why the file cannot be read.")

    @computed_field(description="Where this preset is read, and no other; a config_dir is to be added.")  # type: ignore[prop-decorator]
    @property
    def url(self) -> str:
        which = {"category": self.category or "."} | ({} if self.origin == "folder" else {"origin": self.origin})
        return f"/config/presets/{quote(self.name, safe='')}?{urlencode(which, quote_via=quote)}"


class PresetList(ResponseModel):
    presets: list[PresetInfo]
    count: int


class PresetQuery(QueryModel):
    config_dir: str | None = Field(
        None,
        max_length=4096,
        json_schema_extra=FOR_ADMINS,
        description="Look in this folder instead; it must lie in the roots. Admins only.",
    )


class WhichPreset(QueryModel):
    """Which of several presets with one name; without it the user's, else a built-in one, else OneTrainer's."""

    category: str | None = Field(None, max_length=2000, description=_CATEGORY)
    origin: str | None = Field(None, max_length=100, description="user, builtin or onetrainer. Left out: any.")


class PresetReadQuery(PresetQuery, WhichPreset):
    with_defaults: bool = Field(False, description="Laid over the trainer's defaults: presets are partial.")


class ConfigRequest(RequestModel):
    config: dict[str, Any]


class ConfigChange(ConfigRequest):
    partial: bool = Field(False, description="Lay config over what is there: objects merge deeply, lists replace.")


class ConfigResponse(ResponseModel):
    config: dict[str, Any]


class ConfigSaved(Success):
    config: dict[str, Any] = Field(description="As it is now.")


class ValidateQuery(QueryModel):
    deep: bool = Field(
        False,
        description="The trainer's own code reads the config, under its own Python: seconds the first time. For admins.",
        json_schema_extra=FOR_ADMINS,
    )


class ConfigFinding(ResponseModel):
    level: str = Field(description="error, warning, or incomplete: an error only where a run is to start with it.")
    pointer: str = Field(description="RFC 6901; empty for the whole config.")
    message: str
    allowed: list[str] = Field(description="Where there is a list of names that may stand there.")
    nearest: str | None = Field(None, description="What may have been meant.")


class ValidationResponse(ResponseModel):
    valid: bool
    errors: list[str]
    warnings: list[str]
    findings: list[ConfigFinding] = Field(description="The same, for programs.")
    config: dict[str, Any] | None = Field(None, description="With deep: what the trainer would train with, without secrets.")


class SchemaQuery(QueryModel):
    model_type: str | None = Field(None, description="Only what applies to it.")
    training_method: str | None = Field(None, description="Only what applies to it.")


class DiffQuery(QueryModel):
    """Each is `defaults`, `current` or `preset:NAME` (also `preset:CATEGORY/NAME`, `preset:ORIGIN/CATEGORY/NAME`)."""

    base: str = Field("defaults", max_length=2000)
    config: str = Field("current", max_length=2000)


class ConfigDifference(ResponseModel):
    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    pointer: str = Field(description="JSON pointer (RFC 6901) of the key.")
    kind: Literal["changed", "added", "removed"]
    before: Any = Field(serialization_alias="from", description="In the base; null when there is none, see kind.")
    after: Any = Field(serialization_alias="to", description="In the config; null when there is none, see kind.")


class ConfigDiff(ResponseModel):
    """Both are laid over the trainer's defaults first. Lists count as a whole."""

    base: str
    config: str
    changes: list[ConfigDifference]
    count: int
