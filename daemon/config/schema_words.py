"""Say in a line what a JSON Schema finds wrong with a config, and which keys the schema does not know."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jsonschema import ValidationError

from daemon.config.described import resolved
from daemon.config.findings import Finding

Schema = Mapping[str, Any]
Path = tuple[str | int, ...]
_MAX_NEAREST = 10
"""Looking for the nearest name of one key takes a millisecond."""


def pointer(path: Iterable[str | int]) -> str:
    """RFC 6901; the whole document is `(config)` for people."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path) or "(config)"


def pointer_of(path: Iterable[str | int]) -> str:
    """RFC 6901: empty for the whole document."""
    found = pointer(path)
    return "" if found == "(config)" else found


def of_error(error: ValidationError) -> Iterator[Finding]:
    """What *error* says. Unknown keys are no error here, whatever the schema says of them: see `of_other_keys`."""
    where = pointer_of(error.absolute_path)
    if error.validator == "required":
        instance: Any = error.instance
        wanted: Any = error.validator_value
        missing = [key for key in wanted if key not in instance]
        yield Finding("error", where, f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    elif error.validator not in {"additionalProperties", "unevaluatedProperties"}:
        if inner := _inside_alternatives(error):
            yield from of_error(inner)
            return
        allowed, names = _allowed(error.schema), _names(error)
        near = difflib.get_close_matches(error.instance[:100], names, n=1) if names and isinstance(error.instance, str) else []
        message = f"{_shown(error.instance)} is not {_wanted(error)}"
        message += (f"; did you mean {near[0]}?" if near else "") + (f"; allowed: {allowed}" if allowed else "")
        yield Finding("error", where, message, tuple(names), near[0] if near else None)


def _names(error: ValidationError) -> list[str]:
    """The names that may stand there: of an enum, or of one among alternatives."""
    schemas: list[Any] = [error.schema, *(inner.schema for inner in error.context or ())]
    return [name for schema in schemas if isinstance(schema, Mapping) for name in schema.get("enum", ()) if isinstance(name, str)]


def _inside_alternatives(error: ValidationError) -> ValidationError | None:
    """Of `anyOf: [object, null]` what is wrong deep inside the object, rather than "neither an object nor null"."""
    deeper = [inner for inner in error.context or () if len(inner.path) > 0]
    return deeper[0] if deeper else None


def _wanted(error: ValidationError) -> str:
    value: Any = error.validator_value
    match error.validator:
        case "type":
            kinds = [value] if isinstance(value, str) else value
            return " or ".join("null" if kind == "null" else f"{'an' if kind[0] in 'aio' else 'a'} {kind}" for kind in kinds)
        case "enum" | "const" | "anyOf" | "oneOf":
            return "one of the allowed values"
        case "pattern":
            return f"like {value}"
        case "multipleOf":
            return f"a multiple of {value}"
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            return "in the range"
        case _:
            return f"allowed by the schema: {error.message[:200]}"


def _allowed(schema: Any) -> str:
    """The values that *schema* takes, in words; empty where its type says it all."""
    if not isinstance(schema, Mapping):
        return ""
    if "enum" in schema:
        return ", ".join(item if isinstance(item, str) else json.dumps(item) for item in schema["enum"])
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(filter(None, (_allowed(one) or _types(one) for one in schema[word])))
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None and high is None:
        return ""
    return f"{_types(schema)} {f'from {low}' if low is not None else ''} {f'to {high}' if high is not None else ''}".strip().replace(
        "  ", " "
    )


def _types(schema: Schema) -> str:
    kinds = schema.get("type", "")
    text = kinds if isinstance(kinds, str) else " or ".join(kinds)
    return f"{text} like {schema['pattern']}" if "pattern" in schema else text


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def of_other_keys(config: Any, schema: Schema, elsewhere: Mapping[Path, frozenset[str]] | None = None) -> Iterator[Finding]:
    """A warning for each key of *config*, objects in it included, that has no effect, or that the schema does not know.

    Keys that begin with `__` are passed over: OneTrainer's `__version`, our `__description`; so are those that *elsewhere* names for the
    object at a path. The nearest key is told for the first of them.
    """
    for number, (path, key, place) in enumerate(_other_keys(config, schema, schema, (), elsewhere or {})):
        yield _of_key((*path, key), place, is_near=number < _MAX_NEAREST)


def of_dropped_keys(paths: Iterable[Path], config: Any, schema: Schema) -> Iterator[Finding]:
    """The same for keys that the trainer says it drops."""
    for number, path in enumerate(paths):
        place = resolved(schema, schema)
        for part in path[:-1]:
            members = place.get("properties", {})
            inner = place.get("items") if isinstance(part, int) else members.get(part, place.get("additionalProperties"))
            place = resolved(inner, schema) if isinstance(inner, Mapping) else {}
        yield _of_key(path, place, is_near=number < _MAX_NEAREST)


def _of_key(path: Path, place: Schema, *, is_near: bool) -> Finding:
    key = str(path[-1])
    ignored = place.get("x-ignored", ())
    if key in ignored:
        return Finding("warning", pointer_of(path), "has no effect with this trainer")
    near = difflib.get_close_matches(key[:100], [*place.get("properties", ()), *ignored], n=1) if is_near else []
    where = pointer_of((*path[:-1], key[:100]))
    return Finding("warning", where, "no such key" + (f"; did you mean {near[0]}?" if near else ""), nearest=near[0] if near else None)


def _other_keys(
    value: Any, schema: Schema, root: Schema, path: Path, elsewhere: Mapping[Path, frozenset[str]]
) -> Iterator[tuple[Path, str, Schema]]:
    place = resolved(schema, root)
    if isinstance(value, Mapping):
        known, others, passed = place.get("properties"), place.get("additionalProperties"), elsewhere.get(path, frozenset())
        for key, inner in value.items():
            if known is None:
                below = others
            elif key in known:
                below = known[key]
            else:
                below = None
                if not key.startswith("__") and key not in passed and not any(key.startswith(one) for one in passed if one.endswith("_")):
                    yield path, key, place
            if isinstance(inner, Mapping | list) and isinstance(below, Mapping):
                yield from _other_keys(inner, below, root, (*path, key), elsewhere)
    elif isinstance(value, list) and isinstance(items := place.get("items"), Mapping):
        for index, inner in enumerate(value):
            if isinstance(inner, Mapping | list):
                yield from _other_keys(inner, items, root, (*path, index), elsewhere)
