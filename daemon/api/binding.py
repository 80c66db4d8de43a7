"""Query parameters and bodies to pydantic models, and what pydantic says against them to an InvalidError."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from multidict import MultiMapping
from pydantic import BaseModel, ValidationError

from daemon.errors import InvalidError

ModelT = TypeVar("ModelT", bound=BaseModel)

IN_MESSAGE = 10
IN_DETAILS = 50


def query(model: type[ModelT], given: MultiMapping[str]) -> ModelT:
    """*given* as a *model*. An empty value (`?limit=`) counts as not given.

    Raises:
        InvalidError: a parameter is unknown, given twice or has a bad value (code `invalid_query`).
    """
    for name in given:
        if len(given.getall(name)) > 1:
            raise InvalidError(f"the query parameter {name[:100]!r} is given more than once", code="invalid_query")
    try:
        return model.model_validate_strings({name: text for name, text in given.items() if text or name not in model.model_fields})
    except ValidationError as error:
        raise _invalid("the query is not valid", "invalid_query", error, model) from error


def body(model: type[ModelT], value: Mapping[str, Any]) -> ModelT:
    """*value*, parsed JSON, as a *model*. Raises InvalidError (code `invalid_body`)."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _invalid("the body is not valid", "invalid_body", error, model) from error


def _invalid(what: str, code: str, error: ValidationError, model: type[BaseModel]) -> InvalidError:
    errors = [
        {
            "loc": [_short(part) for part in item["loc"]],
            "msg": _message(item["type"], item["msg"], item["loc"], model),
            "type": item["type"],
        }
        for item in error.errors(include_url=False, include_context=False, include_input=False)[:IN_DETAILS]
    ]
    lines = [f"{'.'.join(map(str, _parts(item['loc'])))}: {item['msg']}" for item in errors[:IN_MESSAGE]]
    more = error.error_count() - len(lines)
    return InvalidError(f"{what}: {'; '.join(lines)}{f'; and {more} more' if more else ''}", code=code, errors=errors)


def _message(kind: str, message: str, loc: tuple[int | str, ...], model: type[BaseModel]) -> str:
    if kind == "extra_forbidden" and len(loc) == 1:
        known = list(model.model_fields)
        near = difflib.get_close_matches(str(loc[0])[:100], known, n=1)
        return "there is no such field" + (f"; did you mean {near[0]}?" if near else f"; known are: {', '.join(known) or 'none'}")
    return message.removeprefix("Value error, ")


def _parts(loc: object) -> Iterable[object]:
    return loc if isinstance(loc, list) and loc else ["(all)"]


def _short(part: int | str) -> int | str:
    return part if isinstance(part, int) else part[:100]
