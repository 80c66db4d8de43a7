"""Which JSON values fit a field of OneTrainer's configs, and the JSON Schema of the same. One rule for both depths of validation.

OneTrainer's `from_dict` is looser: it takes anything for a bool or a list, null for most, and fails hours later. What it takes and
a training can use is allowed here, numbers written as text included (its command line and its infinities are text).
"""

import math
import re
from enum import Enum
from typing import Any, get_args, get_origin

INTEGER_TEXT = re.compile(r"[+-]?[0-9]{1,18}")
NUMBER_TEXT = re.compile(r"[+-]?(inf|infinity|([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]{1,4})?)", re.IGNORECASE)
"""Matched whole. `daemon/config/schema_types.py` has the same two; a contract test holds both to OneTrainer."""

_PLAIN = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list", dict: "an object"}


def fits(kind: Any, value: Any) -> bool:
    """Whether *value* (not None) can stand in a field of the type *kind*, which is no config. A kind that is not known takes all."""
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if is_enum(origin):
        return isinstance(value, origin) or (isinstance(value, str) and value in origin.__members__)
    if origin is bool:
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if origin is int:
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer()) or _matches(INTEGER_TEXT, value)
    if origin is float:
        return (isinstance(value, (int, float)) and not math.isnan(value)) or _matches(NUMBER_TEXT, value)
    if origin is str:
        return isinstance(value, (str, int, float))
    if origin is list:
        return isinstance(value, list) and all(not inner or fits(inner[0], item) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(len(inner) < 2 or fits(inner[1], item) for item in value.values())
    return True


def allowed(kind: Any) -> str:
    """What fits, in words."""
    origin = get_origin(kind) or kind
    if is_enum(origin):
        return f"it must be one of {', '.join(origin.__members__)}"
    return f"it must be {_WORDS.get(origin, 'an object')}"


def schema_of(kind: Any, refer: Any) -> "dict[str, Any]":
    """The schema of *kind*; *refer* is called with each enum and config class in it, and returns the schema that stands for it."""
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if is_enum(origin) or is_config(origin):
        found: dict[str, Any] = refer(origin)
        return found
    if origin is list and inner:
        return {"type": "array", "items": schema_of(inner[0], refer)}
    if origin is dict and len(inner) == 2:
        return {"type": "object", "additionalProperties": schema_of(inner[1], refer)}
    return {"type": _PLAIN[origin]} if origin in _PLAIN else {}


def or_null(schema: "dict[str, Any]") -> "dict[str, Any]":
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else schema


def plain(value: Any) -> Any:
    """*value* of a config's field as OneTrainer writes it to JSON."""
    if isinstance(value, Enum):
        return value.name
    if hasattr(value, "to_dict"):
        return {key: plain(inner) for key, inner in value.to_dict().items() if not key.startswith("__")}
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def is_config(kind: Any) -> bool:
    return isinstance(kind, type) and hasattr(kind, "default_values") and hasattr(kind, "from_dict")


def _matches(pattern: "re.Pattern[str]", value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
