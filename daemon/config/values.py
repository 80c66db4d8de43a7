"""Single values over a config, as OneTrainer's command line takes them: `--config-value a.b.c=value` (scripts/train.py). Pure.

OneTrainer's rule: the key's parts are names of nested objects; a value is text, which for a switch is true if it is one of
`true`, `1`, `yes` in any case, and otherwise read as the type of the key. What it would only print, or take for false, is refused here.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daemon.config.defaults import Schema, kinds_of, known_keys
from daemon.config.masking import is_secret_name
from daemon.config.merge import deep_merge
from daemon.config.path_keys import names_path
from daemon.errors import InvalidError

MOST_VALUES = 1000
_TRUE = frozenset({"true", "1", "yes"})
_FALSE = frozenset({"false", "0", "no", "off", "n", "f", "none", ""})


@dataclass(frozen=True, slots=True)
class Value:
    """One value to set. *path* is the key's parts; *is_text*: *value* is a text that is to be read as the key's type."""

    key: str
    value: Any
    is_text: bool

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(self.key.split("."))


def read_values(given: Sequence[str] | Mapping[str, Any]) -> list[Value]:
    """The values in *given*: lines `a.b.c=value`, or an object of keys with dots and JSON values, in which only texts are read.

    Raises:
        InvalidError: a line has no `=`, or a key an empty part (code `bad_config_value`).
    """
    if isinstance(given, Mapping):
        values = [Value(key.strip(), value, isinstance(value, str)) for key, value in given.items()]
    else:
        values = [_line(line) for line in given]
    for value in values:
        if not all(value.path):
            raise _bad(value.key, "its key has an empty part; it looks like optimizer.learning_rate")
    if len(values) > MOST_VALUES:
        raise InvalidError(f"config_values: {len(values)} are more than {MOST_VALUES}; put them into the config", code="bad_config_value")
    return values


def with_values(config: Mapping[str, Any], values: Sequence[Value], schema: Schema, *, is_migrated: bool) -> dict[str, Any]:
    """*config* with *values* set in order, each read as *schema* says.

    A key whose type the schema does not tell is left out when it is a text: the trainer reads it. *is_migrated*: the trainer will bring
    *config* up from an older version first, so that nothing in it is replaced by an object of the present one.

    Raises:
        InvalidError: no such key, or a value that is not of its type (code `bad_config_value`).
    """
    result = dict(config)
    for value in values:
        *folders, leaf = value.path
        known = known_keys(schema, folders)
        _refuse_unknown(value, known, schema)
        kinds = kinds_of(known[leaf], schema) if known and leaf in known else frozenset()
        if names_path(value.path) or value.path[0] == "secrets":
            kinds = kinds or frozenset({"string"})
        if value.is_text and not kinds:
            continue
        if not is_migrated or _has_room(result, folders):
            result = deep_merge(result, _nested(value.path, _read(value, kinds) if value.is_text else value.value))
    return result


def stored(values: Sequence[Value]) -> dict[str, Any]:
    """*values* for the adapter, in order, without secrets."""
    return {value.key: value.value for value in values if value.path[0] != "secrets" and not is_secret_name(value.key)}


def _line(line: str) -> Value:
    key, separator, text = line.partition("=")
    if not separator:
        raise _bad(line, "it has no '='; it looks like optimizer.learning_rate=0.0003")
    return Value(key.strip(), text, True)


def _refuse_unknown(value: Value, known: Mapping[str, Schema] | None, schema: Schema) -> None:
    parts = value.path
    for depth, part in enumerate(parts[:-1]):
        here = known_keys(schema, parts[:depth])
        if here is not None and part not in here and parts[0] != "secrets":
            raise _unknown(value, part, here)
    if known is not None and parts[-1] not in known and parts[0] != "secrets" and not _is_ignored(schema, parts):
        raise _unknown(value, parts[-1], known)


def _is_ignored(schema: Schema, parts: Sequence[str]) -> bool:
    """Keys that the trainer knows and that have no effect: OneTrainer's, with the built-in one."""
    return len(parts) == 1 and parts[0] in schema.get("x-ignored", ())


def _unknown(value: Value, part: str, known: Mapping[str, Schema]) -> InvalidError:
    near = difflib.get_close_matches(part[:100], list(known), n=1)
    return _bad(value.key, f"there is no key {part[:100]!r}" + (f"; did you mean {near[0]}?" if near else " in the trainer's config"))


def _read(value: Value, kinds: frozenset[str]) -> Any:
    text = str(value.value)
    if "boolean" in kinds and not kinds & {"string", "number", "integer"}:
        word = text.strip().lower()
        if word not in _TRUE | _FALSE:
            raise _bad(value.key, f"{text[:100]!r} is neither true nor false")
        return word in _TRUE
    if "string" in kinds:
        return text
    if kinds & {"array", "object"} and not kinds & {"integer", "number"}:
        raise _bad(value.key, "it is a list or an object, which no text can be; give config_values as an object, or put it into config")
    try:
        return int(text) if "integer" in kinds and "number" not in kinds else _number(text)
    except ValueError:
        kind = "a whole number" if "number" not in kinds else "a number"
        raise _bad(value.key, f"{text[:100]!r} is not {kind}") from None


def _number(text: str) -> float | int | str:
    number = float(text)
    if number != number:  # noqa: PLR0124 - NaN
        raise ValueError(text)
    if number in {float("inf"), float("-inf")}:
        return str(number)  # as OneTrainer's own files have it: JSON has no infinity
    try:
        return int(text)
    except ValueError:
        return number


def _has_room(config: Mapping[str, Any], folders: Sequence[str]) -> bool:
    place: Any = config
    for folder in folders:
        place = place.get(folder, {})
        if not isinstance(place, Mapping):
            return False
    return True


def _nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    for part in reversed(path):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested


def _bad(key: str, why: str) -> InvalidError:
    return InvalidError(f"config_values: {key[:200]!r}: {why}", code="bad_config_value", key=key[:200])
