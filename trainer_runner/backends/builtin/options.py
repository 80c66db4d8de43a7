"""Options as dataclass fields: from one declaration come the reader, its errors and the JSON Schema. Knows no option by name."""

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")

_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def option(
    default: Any,
    description: str,
    *,
    minimum: "float | None" = None,
    maximum: "float | None" = None,
    multiple_of: "int | None" = None,
    pattern: "str | None" = None,
    as_text: bool = False,
) -> Any:
    """A field with its limits. *as_text*: an integer that OneTrainer writes as a string, and that is read in both forms."""
    limits = {"minimum": minimum, "maximum": maximum, "multipleOf": multiple_of, "pattern": pattern}
    given = {key: value for key, value in limits.items() if value is not None}
    metadata = {"description": description, "as_text": as_text, "limits": given}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def read(cls: "type[T]", values: Mapping[str, Any], problems: "list[str]", where: str = "") -> T:
    """A *cls* from *values*; what is missing has its default. What is wrong is appended to *problems* and has its default, too."""
    hints = typing.get_type_hints(cls)
    found: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # cls is a dataclass; typeshed's protocol for it is private
        if field.name in values:
            try:
                found[field.name] = _convert(values[field.name], hints[field.name], field.metadata, problems, where + field.name)
            except _WrongError as wrong:
                problems.append(f"{where}{field.name} is {_shown(values[field.name])}: {wrong}")
    return cls(**found)


def schema(cls: type) -> "dict[str, Any]":
    """The JSON Schema (2020-12) of what `read` takes for *cls*. Other keys are allowed: they are ignored, not wrong."""
    hints = typing.get_type_hints(cls)
    properties: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        properties[field.name] = {
            **_type_schema(hints[field.name], field.metadata),
            "default": dataclasses.asdict(default) if dataclasses.is_dataclass(default) else default,  # type: ignore[arg-type]  # an instance
            "description": field.metadata["description"],
        }
    return {"type": "object", "properties": properties, "additionalProperties": True}


def keys(cls: type) -> "frozenset[str]":
    return frozenset(field.name for field in dataclasses.fields(cls))


class _WrongError(Exception):
    """What was expected instead."""


def _convert(value: Any, hint: Any, metadata: Mapping[str, Any], problems: "list[str]", where: str) -> Any:
    hint, nullable = _without_none(hint)
    if value is None and nullable:
        return None
    if typing.get_origin(hint) is Literal:
        return _choice(value, typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return _items(value, typing.get_args(hint)[0], problems, where)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _WrongError("an object was expected")
        return read(hint, value, problems, where + ".")  # type: ignore[arg-type]  # a class, as the hint is one
    return _scalar(value, hint, metadata)


def _choice(value: Any, allowed: "tuple[str, ...]") -> Any:
    if not isinstance(value, str) or value not in allowed:
        raise _WrongError(f"allowed: {', '.join(allowed)}")
    return value


def _items(value: Any, item: Any, problems: "list[str]", where: str) -> "tuple[Any, ...]":
    if not isinstance(value, (list, tuple)):
        raise _WrongError("a list was expected")
    found = []
    for index, entry in enumerate(value):
        if isinstance(entry, Mapping):
            found.append(read(item, entry, problems, f"{where}[{index}]."))
        else:
            problems.append(f"{where}[{index}] is {_shown(entry)}: an object was expected")
    return tuple(found)


def _scalar(value: Any, kind: type, metadata: Mapping[str, Any]) -> Any:
    limits = metadata["limits"]
    expected = f"{_NAMES[kind]}{_limits_in_words(limits)} was expected"
    if metadata["as_text"] and isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        value = int(value)
    if kind is int and isinstance(value, float) and value % 1 == 0:
        value = int(value)  # JSON knows one kind of number: 3.0 is an integer
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _WrongError(f"{'an' if kind is int else 'a'} {expected}")
    if not _is_within(value, limits):
        raise _WrongError(f"{'an' if kind is int else 'a'} {expected}")
    return value


def _is_within(value: Any, limits: Mapping[str, Any]) -> bool:
    if isinstance(value, str):
        return _is_text(value) and ("pattern" not in limits or re.search(limits["pattern"], value) is not None)
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if value < limits.get("minimum", value) or value > limits.get("maximum", value):
        return False
    return "multipleOf" not in limits or value % limits["multipleOf"] == 0


def _is_text(value: str) -> bool:
    """Whether files can hold it: JSON's escapes can write NUL and halves of surrogate pairs."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def _limits_in_words(limits: Mapping[str, Any]) -> str:
    words = []
    if "minimum" in limits and "maximum" in limits:
        words.append(f" from {limits['minimum']} to {limits['maximum']}")
    elif "minimum" in limits:
        words.append(f" of at least {limits['minimum']}")
    if "multipleOf" in limits:
        words.append(f" that is a multiple of {limits['multipleOf']}")
    if "pattern" in limits:
        words.append(f" like {limits['pattern']}")
    return ",".join(words)


def _type_schema(hint: Any, metadata: Mapping[str, Any]) -> "dict[str, Any]":
    hint, nullable = _without_none(hint)
    if nullable:
        inner = _type_schema(hint, metadata)
        if isinstance(inner.get("type"), str) and "enum" not in inner:
            return {**inner, "type": [inner["type"], "null"]}
        return {"anyOf": [inner, {"type": "null"}]}
    if typing.get_origin(hint) is Literal:
        return {"type": "string", "enum": list(typing.get_args(hint))}
    if typing.get_origin(hint) is tuple:
        return {"type": "array", "items": schema(typing.get_args(hint)[0])}
    if dataclasses.is_dataclass(hint):
        return schema(hint)  # type: ignore[arg-type]  # a class, as the hint is one
    own = {"type": _NAMES[hint], **metadata["limits"]}
    if metadata["as_text"]:
        return {"anyOf": [own, {"type": "string", "pattern": "^[0-9]{1,9}$"}]}
    return own


def _without_none(hint: Any) -> "tuple[Any, bool]":
    if typing.get_origin(hint) in (Union, types.UnionType):
        rest = [argument for argument in typing.get_args(hint) if argument is not type(None)]
        return rest[0], len(rest) < len(typing.get_args(hint))
    return hint, False


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
