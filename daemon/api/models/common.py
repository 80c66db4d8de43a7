"""The bases of all models, and what several routes share."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class RequestModel(BaseModel):
    """A JSON body. Strict: no number for a string, no true for 1. A misspelt field is an error, not silence about a run of days."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


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
