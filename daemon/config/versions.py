"""What can be judged of a config that OneTrainer will migrate first: only it can migrate, but what its migrations leave alone is judged.

A config without `__version` is taken as one of the present version, unless its `optimizer` is a text as in 2023: as the trainer does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from daemon.config.defaults import Schema
from daemon.config.described import resolved
from daemon.config.findings import Finding
from daemon.config.schema_words import pointer

Path = tuple[str | int, ...]


@dataclass
class Judgeable:
    """*loose*: places of which nothing can be said; *retired*: (place of an object, names that mean something there in its version);
    *uncertain*: keys of the config itself whose value may be another after migration.
    """

    findings: list[Finding] = field(default_factory=list)
    loose: set[Path] = field(default_factory=set)
    retired: dict[Path, frozenset[str]] = field(default_factory=dict)
    uncertain: frozenset[str] = frozenset()
    is_older: bool = False
    is_unreadable: bool = False
    """Its version is none that this OneTrainer knows: nothing in it can be judged."""

    def is_loose(self, path: Path) -> bool:
        return bool(self.loose) and any(path[:length] in self.loose for length in range(1, len(path) + 1))


def judgeable(config: Mapping[str, Any], schema: Schema) -> Judgeable:
    """Looks at each object in *config* that has a version of its own."""
    found = Judgeable()
    if "x-version" not in resolved(schema, schema):
        return found  # a trainer without versions
    if "__version" not in config and not isinstance(config.get("optimizer"), str):
        return found
    for path, value, place in _objects(config, schema, schema, ()):
        _judge(found, path, value, place)
        if found.is_unreadable:
            break
    return found


def _judge(found: Judgeable, path: Path, value: Mapping[str, Any], place: Schema) -> None:
    known, version = place.get("x-version", 0), value.get("__version", 0)
    where = pointer((*path, "__version"))
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version <= known:
        message = f"{version!r} is unknown to this OneTrainer, which knows {known}; update OneTrainer"
        found.findings.append(Finding("error", where, message[:200]))
        found.is_unreadable = not path
        return
    between = place.get("x-migrations", {}).get(str(version))
    if between is None:
        return
    if lacking := [key for key in between["needs"] if key not in value]:
        message = (
            f"version {version} cannot be brought up to {known} by OneTrainer without {', '.join(lacking)}; "
            f'if the config is written for the present version, give it "__version": {known}'
        )
        found.findings.append(Finding("error", where, message))
    if not path:
        found.is_older = True
        message = (
            f"the config is of version {version}, and OneTrainer migrates it to {known} first: "
            "what that changes is judged with deep=true only"
        )
        found.findings.append(Finding("warning", where, message))
        found.uncertain = frozenset(between["touched"])
    found.loose |= {(*path, *text.split("/")[1:]) for text in between["loose"]}
    found.retired[path] = frozenset(between["retired"])


def _objects(value: Any, schema: Schema, root: Schema, path: Path) -> Iterator[tuple[Path, Mapping[str, Any], Schema]]:
    """Each object in *value* that is one of OneTrainer's configs, with its schema."""
    place = resolved(schema, root)
    if isinstance(value, Mapping):
        properties = place.get("properties")
        if isinstance(properties, Mapping):
            yield path, value, place
        others = place.get("additionalProperties")
        for key, inner in value.items():
            if isinstance(inner, Mapping | list):
                below = properties.get(key) if isinstance(properties, Mapping) else others
                if isinstance(below, Mapping):
                    yield from _objects(inner, below, root, (*path, key))
    elif isinstance(value, list) and isinstance(items := place.get("items"), Mapping):
        for index, inner in enumerate(value):
            if isinstance(inner, Mapping):
                yield from _objects(inner, items, root, (*path, index))
