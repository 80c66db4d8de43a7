"""The defaults that a JSON Schema of a config tells, and what kind of value it wants under a key. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]
SchemaSource = Callable[[], Schema]
"""Where the schema comes from: the trainer's own, once it has described itself."""

_MAX_DEPTH = 16


def defaults_of(schema: Schema) -> dict[str, Any]:
    """A config of all defaults, those of nested objects included; empty for a schema that knows none."""
    found = _default(schema, schema, 0)
    return found if isinstance(found, dict) else {}


def known_keys(schema: Schema, path: Sequence[str]) -> Mapping[str, Schema] | None:
    """What the object at *path* may hold, each with its schema; None where the schema does not say."""
    place: Schema | None = _object(schema, schema)
    for part in path:
        inner = (place or {}).get("properties", {}).get(part)
        place = _object(inner, schema) if isinstance(inner, Mapping) else None
    properties = (place or {}).get("properties")
    return properties if isinstance(properties, Mapping) else None


def kinds_of(schema: Schema, root: Schema) -> frozenset[str]:
    """The JSON types that *schema* allows, alternatives and references followed; empty where it does not say."""
    return frozenset(_kinds(schema, root, 0))


def _default(schema: Schema, root: Schema, depth: int) -> Any:
    """The default, its own or that of all its properties; `...` where there is none."""
    place = _object(schema, root)
    properties = place.get("properties") if place else None
    own = schema.get("default", (place or {}).get("default", ...))
    if not isinstance(properties, Mapping) or own is None or depth > _MAX_DEPTH:
        return own
    inner = {key: value for key, one in properties.items() if (value := _default(one, root, depth + 1)) is not ...}
    return {**inner, **own} if isinstance(own, Mapping) else inner


def _object(schema: Schema, root: Schema) -> Schema | None:
    """The schema of an object that *schema* is, refers to, or has among its alternatives."""
    return next((one for one in _alternatives(schema, root, 0) if "properties" in one), None)


def _kinds(schema: Schema, root: Schema, depth: int) -> set[str]:
    found: set[str] = set()
    for one in _alternatives(schema, root, depth):
        kinds = one.get("type")
        if isinstance(kinds, str):
            found.add(kinds)
        elif isinstance(kinds, list):
            found.update(kinds)
        elif "properties" in one:
            found.add("object")
        elif all(isinstance(value, str) for value in one.get("enum", [0])):
            found.add("string")
    return found


def _alternatives(schema: Schema, root: Schema, depth: int) -> list[Schema]:
    if depth > _MAX_DEPTH:
        return []
    if isinstance(reference := schema.get("$ref"), str):
        return _alternatives(_at(root, reference), root, depth + 1)
    for word in ("anyOf", "oneOf", "allOf"):
        if isinstance(several := schema.get(word), list):
            return [found for one in several for found in _alternatives(one, root, depth + 1)]
    return [schema]


def _at(root: Schema, reference: str) -> Schema:
    place: Any = root
    for part in filter(None, reference.removeprefix("#").split("/")):
        place = place.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(place, Mapping) else {}
    return place if isinstance(place, Mapping) else {}
