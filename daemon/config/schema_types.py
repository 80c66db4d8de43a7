"""The JSON types as OneTrainer reads them, and the validator for a trainer's schema.

Where a schema says `x-text-numbers`, numbers may stand as text and texts as numbers: its `from_dict` calls int(), float() and str().
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from jsonschema import Draft202012Validator, validators
from jsonschema.protocols import Validator as SchemaValidator

from daemon.config.defaults import Schema

# `trainer_runner/catalog/values.py` has the same two; a contract test holds both to OneTrainer.
_INTEGER_TEXT = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER_TEXT = re.compile(r"[+-]?(inf|infinity|([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]{1,4})?)", re.IGNORECASE)


def _is_integer(value: Any) -> bool:
    if isinstance(value, str):
        return _INTEGER_TEXT.fullmatch(value) is not None
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return _NUMBER_TEXT.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


KINDS: Mapping[str, Callable[[Any], bool]] = {
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_integer,
    "number": _is_number,
    "string": lambda value: isinstance(value, str | int | float) and not isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}


def _for_jsonschema(check: Callable[[Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda _, value: check(value)


_LOOSE = validators.extend(  # type: ignore[no-untyped-call]  # types-jsonschema has no types for it
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {name: _for_jsonschema(KINDS[name]) for name in ("integer", "number", "string")}
    ),
)


def has_text_numbers(schema: Schema) -> bool:
    return bool(schema.get("x-text-numbers"))


def validator_of(schema: Schema) -> SchemaValidator:
    """*schema* is taken to be one: checking OneTrainer's takes a third of a second, and tests do that."""
    kind = _LOOSE if has_text_numbers(schema) else Draft202012Validator
    validator: SchemaValidator = kind(schema)
    return validator
