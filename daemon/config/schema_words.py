"""Say in a line what a JSON Schema finds wrong with a config, and which keys the schema does not know."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jsonschema import ValidationError

Schema = Mapping[str, Any]


def pointer(path: Iterable[str | int]) -> str:
    """RFC 6901; the whole document is `(config)` for people."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path) or "(config)"


def of_error(error: ValidationError, at: str = "") -> Iterator[str]:
    """One line for each thing that *error* says. Unknown keys are no error here, whatever the schema says of them: see `of_other_keys`."""
    where = at or pointer(error.absolute_path)
    if error.validator == "required":
        instance: Any = error.instance
        wanted: Any = error.validator_value
        missing = [key for key in wanted if key not in instance]
        yield f"{where}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    elif error.validator not in {"additionalProperties", "unevaluatedProperties"}:
        if inner := _inside_alternatives(error):
            yield from of_error(inner)
            return
        allowed = _allowed(error.schema)
        yield f"{where}: {_shown(error.instance)} is not {_wanted(error)}" + (f"; allowed: {allowed}" if allowed else "")


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


def of_other_keys(value: Any, schema: Schema, path: tuple[str | int, ...] = (), root: Schema | None = None) -> Iterator[str]:
    """A line for each key of *value*, objects in it included, that has no effect, or that the schema does not know.

    Keys that begin with `__` are passed over: OneTrainer's `__version`, our `__description`.
    """
    root = schema if root is None else root
    schema = _fitting(schema, value, root)
    if isinstance(value, Mapping) and "properties" in schema:
        known, ignored = schema["properties"], frozenset(schema.get("x-ignored", ()))
        for key, inner in value.items():
            if key in known:
                yield from of_other_keys(inner, known[key], (*path, key), root)
            elif key in ignored:
                yield f"{pointer((*path, key))}: has no effect with this trainer"
            elif not key.startswith("__"):
                near = difflib.get_close_matches(key[:100], [*known, *ignored], n=1)
                yield f"{pointer((*path, key[:100]))}: no such key" + (f"; did you mean {near[0]}?" if near else "")
    elif isinstance(value, list) and isinstance(items := schema.get("items"), Mapping):
        for index, inner in enumerate(value):
            if isinstance(inner, Mapping | list):
                yield from of_other_keys(inner, items, (*path, index), root)


def _fitting(schema: Schema, value: Any, root: Schema) -> Schema:
    """*schema* with `$ref` into the same document followed, and of alternatives the one for the kind of *value*."""
    wanted = "object" if isinstance(value, Mapping) else "array"
    for _ in range(16):
        if isinstance(reference := schema.get("$ref"), str) and reference.startswith("#/"):
            schema = _at(root, reference)
        elif alternatives := schema.get("anyOf", schema.get("oneOf")):
            followed = [_at(root, one["$ref"]) if "$ref" in one else one for one in alternatives]
            schema = next((one for one in followed if wanted in one.get("type", "")), {})
        else:
            break
    return schema


def _at(root: Schema, reference: str) -> Schema:
    place: Any = root
    for part in reference.removeprefix("#/").split("/"):
        place = place[part.replace("~1", "/").replace("~0", "~")]
    return place if isinstance(place, Mapping) else {}
