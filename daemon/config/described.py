"""What a trainer tells of its configs: its catalog (PROTOCOL.md), as the daemon holds it. Pure data; who asks is `daemon/catalog/`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from daemon.config.defaults import Schema, defaults_of

VERSION = 1


@dataclass(frozen=True)
class Described:
    """One trainer's catalog. *problem* says why there is none, or why it could not be made anew; without one everything is empty."""

    backend: str
    schema: Schema = field(default_factory=lambda: {"type": "object"})
    config_version: int = 0
    model_types: Sequence[Mapping[str, Any]] = ()
    optimizers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    missing: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """commit, commit_date, is_modified, python_version, torch_version, cuda_version."""
    problem: str | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Described":
        """Raises KeyError, TypeError, ValueError or AttributeError on anything that is no catalog of this version."""
        if value["v"] != VERSION:
            raise ValueError(f"a catalog of version {value['v']!r}")
        facts = ("commit", "commit_date", "is_modified", "python_version", "torch_version", "cuda_version")
        models = tuple(model for model in value["model_types"] if isinstance(model["name"], str))
        schema = dict(value["schema"])
        if not isinstance(resolved(schema, schema).get("properties"), Mapping):
            raise ValueError("a schema that describes no config")
        return cls(
            str(value["backend"]), schema, int(value["config_version"]), models,
            {str(name): dict(parameters) for name, parameters in value["optimizers"].items()},
            tuple(map(str, value["missing"])), {name: value.get(name) for name in facts},
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "v": VERSION, "backend": self.backend, "schema": self.schema, "config_version": self.config_version,
            "model_types": list(self.model_types), "optimizers": dict(self.optimizers), "missing": list(self.missing), **self.facts,
        }  # fmt: skip

    @property
    def is_known(self) -> bool:
        """Whether the trainer has described itself, be it in an earlier life of the daemon."""
        return "$schema" in self.schema

    @cached_property
    def root(self) -> Schema:
        """The schema of the config itself, where the whole begins with a reference to it."""
        return resolved(self.schema, self.schema)

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        return defaults_of(self.schema)

    @cached_property
    def by_model_type(self) -> Mapping[str, Mapping[str, Any]]:
        return {model["name"]: model for model in self.model_types}


Source = Callable[[], Described]
"""What is known now; it may be called from any thread and does not wait."""


def resolved(schema: Schema, root: Schema) -> Schema:
    """*schema* with `$ref` into *root* followed, and of alternatives the object or array."""
    for _ in range(16):
        if isinstance(reference := schema.get("$ref"), str):
            schema = at(root, reference)
        elif isinstance(several := schema.get("anyOf"), list):
            followed = [at(root, one["$ref"]) if "$ref" in one else one for one in several]
            schema = next((one for one in followed if "properties" in one or "items" in one), {})
        else:
            break
    return schema


def at(root: Schema, reference: str) -> Schema:
    place: Any = root
    for part in filter(None, reference.removeprefix("#").split("/")):
        place = place.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(place, Mapping) else {}
    return place if isinstance(place, Mapping) else {}
