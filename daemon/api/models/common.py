"""The bases of all models, and what several routes share."""

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator


class RequestModel(BaseModel):
    """A JSON body. Strict: no number for a string, no true for 1. A misspelt field is an error, not silence about a run of days."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _whole_numbers(cls, data: Any) -> Any:
        """To JSON Schema 7.0 is an integer, and some clients write it so."""
        if not isinstance(data, dict):
            return data
        whole = {name: int(value) for name, value in data.items() if isinstance(value, float) and value.is_integer() and cls._is_int(name)}
        return {**data, **whole} if whole else data

    @classmethod
    def _is_int(cls, name: str) -> bool:
        field = cls.model_fields.get(name)
        kinds = {field.annotation, *get_args(field.annotation)} if field else set()
        return int in kinds and float not in kinds


class QueryModel(BaseModel):
    """Query parameters: read from text, unknown ones refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ResponseModel(BaseModel):
    """An answer; built from the attributes of the daemon's own dataclasses where it can be."""

    model_config = ConfigDict(frozen=True, from_attributes=True, protected_namespaces=())


FOR_ADMINS: dict[str, JsonValue] = {"x-role": "admin"}
"""As `json_schema_extra` of a query parameter: with it the call is an admin's, whatever the role of its route. For what names a place on
the disk: a viewer sees what trainings make, and does not look around."""


class NoBody(RequestModel):
    """The route reads no body; one that is sent is ignored."""


class NoQuery(QueryModel):
    """The route has no query parameters."""


class Success(ResponseModel):
    success: Literal[True] = True
    message: str


class ProblemBody(ResponseModel):
    """Every error, from every route."""

    error: str = Field(examples=["NotFound"])
    message: str = Field(description="What went wrong, with the value, and what to do.")
    details: dict[str, Any] = Field(
        description="`code` is stable and for programs; `errors` lists what pydantic found as {loc, msg, type}."
    )


class Health(ResponseModel):
    status: Literal["healthy"] = "healthy"
    training_active: bool
    trainer_status: str
    disk: Literal["ok", "low", "held"] = Field(
        description="low: a file system fills up; held: so a training is paused until there is room."
    )
