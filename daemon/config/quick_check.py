"""Is a value surely as its schema says? Compiled once per schema, and an order of magnitude faster than a validator that can say why not.

A whole config of OneTrainer has five thousand values, nearly all of them right; only the rest is shown to jsonschema.
"""

from collections.abc import Callable, Mapping
from typing import Any

from daemon.config.defaults import Schema
from daemon.config.described import at
from daemon.config.schema_types import KINDS

Check = Callable[[Any], bool]
_ANNOTATIONS = frozenset({"default", "title", "description", "$schema", "$defs", "$comment"})
_UNDERSTOOD = frozenset({"$ref", "type", "enum", "properties", "additionalProperties", "items", "anyOf"})


def compile_check(schema: Schema) -> Check:
    """A function that is true only for values that *schema* allows; false where it does not, or has words that are not known here."""
    made: dict[str, Check] = {}

    def make(place: Schema) -> Check:
        words = {word for word in place if word not in _ANNOTATIONS and not word.startswith("x-")}
        if not words <= _UNDERSTOOD:
            return _never
        checks = [check for word in sorted(words) if (check := _of_word(word, place)) is not None]
        if len(checks) == 1:
            return checks[0]
        return lambda value: all(check(value) for check in checks)

    def refer(reference: str) -> Check:
        if reference not in made:
            # First, since a class may hold its own kind: it is looked up when it is called.
            made[reference] = lambda value: made[reference](value)  # noqa: PLW0108 - it is another function by then
            made[reference] = make(at(schema, reference))
        return made[reference]

    def _of_word(word: str, place: Schema) -> Check | None:
        match word:
            case "$ref":
                return refer(place["$ref"])
            case "type":
                return _of_types(place["type"])
            case "enum":
                return _one_of(place["enum"])
            case "anyOf":
                return _any([make(one) for one in place["anyOf"]])
            case "items":
                return _items(make(place["items"]))
            case "properties":
                others = place.get("additionalProperties", True)
                return _members({key: make(one) for key, one in place["properties"].items()}, others is not False)
            case _:  # additionalProperties, beside properties or alone
                others = place["additionalProperties"]
                if isinstance(others, Mapping) and "properties" not in place:
                    return _values(make(others))
                return None if isinstance(others, bool) else _never

    return make(schema)


def _never(_: Any) -> bool:
    return False


def _of_types(names: str | list[str]) -> Check:
    kinds = [KINDS[name] for name in ([names] if isinstance(names, str) else names)]
    return kinds[0] if len(kinds) == 1 else _any(kinds)


def _any(checks: list[Check]) -> Check:
    return lambda value: any(check(value) for check in checks)


def _one_of(values: list[Any]) -> Check:
    if not all(isinstance(value, str) for value in values):
        return _never
    names = frozenset(values)
    return lambda value: isinstance(value, str) and value in names


def _items(check: Check) -> Check:
    return lambda value: not isinstance(value, list) or all(map(check, value))


def _values(check: Check) -> Check:
    return lambda value: not isinstance(value, dict) or all(map(check, value.values()))


def _members(checks: Mapping[str, Check], allows_others: bool) -> Check:
    def check(value: Any) -> bool:
        if not isinstance(value, dict):
            return True
        for key, inner in value.items():
            own = checks.get(key)
            if own is None:
                if not allows_others:
                    return False
            elif not own(inner):
                return False
        return True

    return check
