"""Did each value of a config land? OneTrainer's `from_dict` prints what it cannot set, keeps the default and trains on.

Here the same rules are applied, then each given value is compared with what stands in the object, by its full name.
"""

import contextlib
import copy
import inspect
import io
from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple, get_args, get_origin

from trainer_runner.trainer.backend import ConfigError


class Landing(NamedTuple):
    """What became of the keys: *refused* are sentences with key, value and what is allowed; *unknown* are names."""

    refused: "list[str]"
    unknown: "list[str]"


def apply(target: Any, data: "Mapping[str, Any]", name: str = "", *, migrate: bool) -> Landing:
    """Put *data* into the BaseConfig *target* as OneTrainer would; *name* is the prefix of its keys in messages.

    Raises:
        ConfigError: it is of a version that this OneTrainer does not know, or its migration fails.
    """
    current = _migrated(target, data, name) if migrate else dict(data)
    options: dict[str, Any] = {"migrate": migrate}
    if "migrate" not in inspect.signature(target.from_dict).parameters:
        # Until 2026 it always migrated, what is inside as well: the present version is what keeps it from the outermost.
        current["__version"] = target.config_version
        migrate, options = True, {}
    with contextlib.redirect_stdout(io.StringIO()):  # "Could not set epochs as two": told below, with its whole name
        target.from_dict(copy.deepcopy(current), **options)
    landing = Landing([], [])
    _compare(target, current, name, landing, migrate)
    return landing


def _migrated(target: Any, data: "Mapping[str, Any]", name: str) -> "dict[str, Any]":
    """*data* brought up to *target*'s version by OneTrainer's own migrations."""
    known = int(target.config_version)
    version = data.get("__version", 0)
    if not isinstance(version, int) or isinstance(version, bool) or version > known:
        what = name.rstrip(".") or "the config"
        raise ConfigError(f"{what}: __version {version!r} is unknown to this OneTrainer, which knows {known}; update OneTrainer")
    current = copy.deepcopy(dict(data))
    for step in range(version, known):
        migration = target.config_migrations.get(step)
        if migration is None:
            continue
        try:
            current = migration(current)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ConfigError(
                f"{name or 'the config'}: OneTrainer cannot bring __version {version} up to {known}: {type(error).__name__}: {error}; "
                f'if it is written for the present version, give it "__version": {known}'
            ) from error
    current["__version"] = known
    return current


def _compare(target: Any, data: "Mapping[str, Any]", name: str, landing: Landing, migrate: bool) -> None:
    for key, value in data.items():
        if key.startswith("__"):
            continue
        full = f"{name}{key}"
        if key not in target.types:
            landing.unknown.append(full)
            continue
        kind, got = target.types[key], getattr(target, key)
        if value is None and (got is None or target.nullables[key]):
            continue
        origin = get_origin(kind) or kind
        inner = get_args(kind)[-1] if get_args(kind) else None
        if _is_config(kind) and isinstance(value, Mapping):
            _nested(got, value, f"{full}.", landing, migrate)
        elif origin is list and isinstance(value, list) and _is_config(inner) and isinstance(got, list) and len(got) == len(value):
            for index, (item, item_value) in enumerate(zip(got, value, strict=True)):
                _nested(item, item_value, f"{full}[{index}].", landing, migrate)
        elif origin is dict and isinstance(value, Mapping) and _is_config(inner) and isinstance(got, dict) and got.keys() == value.keys():
            for entry, item_value in value.items():
                _nested(got[entry], item_value, f"{full}.{entry}.", landing, migrate)
        elif not _has_landed(origin, value, got) or _is_config(kind) or (_is_config(inner) and got != value):
            landing.refused.append(f"{full}: {value!r} is not allowed; {_allowed(origin)}")


def _nested(target: Any, value: Any, name: str, landing: Landing, migrate: bool) -> None:
    if not isinstance(value, Mapping):
        landing.refused.append(f"{name.rstrip('.')}: {value!r} is not allowed; it must be an object")
        return
    _compare(target, _migrated(target, value, name) if migrate else value, name, landing, migrate)


def _is_config(kind: Any) -> bool:
    return isinstance(kind, type) and hasattr(kind, "default_values") and hasattr(kind, "from_dict")


def _has_landed(kind: Any, value: Any, got: Any) -> bool:
    """Whether *value*, as JSON has it, stands in the object as *got*: nothing cut off, nothing made up."""
    if kind in (list, dict):
        return isinstance(value, kind) and got == value
    if isinstance(kind, type) and issubclass(kind, Enum):
        return got is value or (isinstance(value, str) and isinstance(got, kind) and got.name == value)
    if kind is bool:
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if kind in (int, float):
        try:
            return bool(got == float(value)) or got != got  # noqa: PLR0124 - NaN stays NaN
        except (TypeError, ValueError):
            return False
    return isinstance(value, (str, int, float)) and got == str(value) if kind is str else True


def _allowed(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"it must be one of {', '.join(member.name for member in kind)}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list", dict: "an object"}
    return f"it must be {words.get(kind, 'an object')}"
