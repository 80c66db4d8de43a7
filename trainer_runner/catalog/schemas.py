"""The JSON Schema (2020-12) of OneTrainer's config classes, read off their instances: each field's type, default and nullability."""

from collections.abc import Mapping
from typing import Any

from trainer_runner.catalog.migrations import describe_migrations
from trainer_runner.catalog.values import is_config, is_enum, or_null, plain, schema_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def describe_configs(top: "Mapping[str, Any]") -> "dict[str, Any]":
    """A schema whose root is the first of *top* (name → class) and whose `$defs` hold all of them, and what is inside them.

    Beside the standard's words: `x-version` and `x-migrations` of a class that has them (see `migrations.py`), and `x-text-numbers`:
    where a number is allowed its text is, too, and where a text is allowed a number is.
    """
    definitions: dict[str, Any] = {}

    def refer(kind: Any) -> "dict[str, Any]":
        name = kind.__name__
        if name not in definitions:
            definitions[name] = {}  # first, since a class may hold its own kind
            definitions[name] = _enum(kind) if is_enum(kind) else _config(kind, refer)
        return {"$ref": f"#/$defs/{name}"}

    references = [refer(cls) for cls in top.values()]
    return {"$schema": DIALECT, "title": "OneTrainer's config", **references[0], "$defs": definitions, "x-text-numbers": True}


def _enum(kind: Any) -> "dict[str, Any]":
    return {"type": "string", "enum": list(kind.__members__)}


def _config(cls: Any, refer: Any) -> "dict[str, Any]":
    config, again = cls.default_values(), cls.default_values()
    properties: dict[str, Any] = {}
    for name, kind in config.types.items():
        default = getattr(config, name)
        schema = schema_of(kind, refer)
        if config.nullables[name] or default is None:
            schema = or_null(schema)
        is_drawn = plain(default) != plain(getattr(again, name))  # ids and seeds are drawn anew each time
        if not is_drawn and not (is_config(kind) and plain(default) == plain(kind.default_values())):
            schema = {**schema, "default": plain(default)}
        properties[name] = schema
    described: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": True}
    version = int(getattr(config, "config_version", 0))
    if version:
        described["x-version"] = version
        enums = {name: list(kind.__members__) for name, kind in config.types.items() if is_enum(kind)}
        described["x-migrations"] = describe_migrations(config, plain(config), enums)
    return described
