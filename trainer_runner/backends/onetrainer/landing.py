"""Did each value of a config land? OneTrainer's `from_dict` prints what it cannot set, keeps the default and trains on.

Here the same rules are applied, then each given value is compared with what stands in the object, by its full name.
"""

import contextlib
import copy
import inspect
import io
from collections.abc import Mapping
from typing import Any, NamedTuple, get_args, get_origin

from trainer_runner.catalog.values import allowed, fits, is_config, is_enum
from trainer_runner.trainer.backend import ConfigError


class Refusal(NamedTuple):
    """One value that cannot stand: *path* as in a JSON pointer, and a sentence that begins with its name."""

    path: "tuple[str | int, ...]"
    sentence: str


class Landing(NamedTuple):
    """What became of the keys: *refused* are values that OneTrainer does not take or cannot use, *unknown* are paths of keys it drops."""

    refused: "list[Refusal]"
    unknown: "list[tuple[str | int, ...]]"


class How(NamedTuple):
    """*migrate*: what is inside is migrated, too. *has_old_nulls*: OneTrainer wrote null for a switch that is off, until 2024."""

    migrate: bool
    has_old_nulls: bool


def name_of(path: "tuple[str | int, ...]") -> str:
    """`concepts[0].path`, as messages have it."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def apply(target: Any, data: "Mapping[str, Any]", at: "tuple[str | int, ...]" = (), *, migrate: bool) -> Landing:
    """Put *data* into the BaseConfig *target* as OneTrainer would; *at* is where it stands in the config.

    Raises:
        ConfigError: it is of a version that this OneTrainer does not know, or its migration fails.
    """
    current = _migrated(target, data, at) if migrate else dict(data)
    is_older = migrate and data.get("__version", 0) < target.config_version
    options: dict[str, Any] = {"migrate": migrate}
    if "migrate" not in inspect.signature(target.from_dict).parameters:
        # Until 2026 it always migrated, what is inside as well: the present version is what keeps it from the outermost.
        current["__version"] = target.config_version
        migrate, options = True, {}
    with contextlib.redirect_stdout(io.StringIO()):  # "Could not set epochs as two": told below, with its whole name
        target.from_dict(copy.deepcopy(current), **options)
    landing = Landing([], [])
    _compare(target, current, at, landing, How(migrate, is_older))
    return landing


def _migrated(target: Any, data: "Mapping[str, Any]", at: "tuple[str | int, ...]") -> "dict[str, Any]":
    """*data* brought up to *target*'s version by OneTrainer's own migrations."""
    known = int(target.config_version)
    version = data.get("__version", 0)
    what = name_of(at) or "the config"
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version <= known:
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
                f"{what}: OneTrainer cannot bring __version {version} up to {known}: {type(error).__name__}: {error}; "
                f'if it is written for the present version, give it "__version": {known}'
            ) from error
    current["__version"] = known
    return current


def _compare(target: Any, data: "Mapping[str, Any]", at: "tuple[str | int, ...]", landing: Landing, how: How) -> None:
    for key, value in data.items():
        if key.startswith("__"):
            continue
        here = (*at, key)
        if key not in target.types:
            landing.unknown.append(here)
            continue
        kind, got = target.types[key], getattr(target, key)
        if value is None:
            may_be = target.nullables[key] or _default(target, key) is None or (kind is bool and how.has_old_nulls)
            if not may_be:
                _refuse(landing, here, value, kind)
            continue
        origin = get_origin(kind) or kind
        inner = get_args(kind)[-1] if get_args(kind) else None
        if is_config(inner) and isinstance(value, origin) and (odd := _no_objects(value)):
            for place in odd:  # for one of them OneTrainer keeps none: what is wrong is these alone
                _refuse(landing, (*here, place), value[place], inner)
            continue
        if is_config(kind) and isinstance(value, Mapping):
            _nested(got, value, here, landing, how)
        elif origin is list and isinstance(value, list) and is_config(inner) and isinstance(got, list) and len(got) == len(value):
            for index, (item, item_value) in enumerate(zip(got, value, strict=True)):
                _nested(item, item_value, (*here, index), landing, how)
        elif origin is dict and isinstance(value, Mapping) and is_config(inner) and isinstance(got, dict) and got.keys() == value.keys():
            for entry, item_value in value.items():
                _nested(got[entry], item_value, (*here, entry), landing, how)
        elif is_config(kind) or (is_config(inner) and got != value) or not (fits(kind, value) and _has_landed(origin, value, got)):
            _refuse(landing, here, value, kind)


def _no_objects(value: Any) -> "list[Any]":
    """Where *value*, a list or an object that holds configs, holds something else."""
    places = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, Mapping) else ()
    return [place for place, inner in places if not isinstance(inner, Mapping)]


def _nested(target: Any, value: Any, at: "tuple[str | int, ...]", landing: Landing, how: How) -> None:
    if not isinstance(value, Mapping):
        landing.refused.append(Refusal(at, f"{name_of(at)}: {value!r} is not allowed; it must be an object"))
        return
    _compare(target, _migrated(target, value, at) if how.migrate else value, at, landing, how)


def _default(target: Any, key: str) -> Any:
    """OneTrainer's `BaseConfig` keeps the default of each field; a null for one that is null by default changes nothing."""
    defaults = getattr(target, "default_values", None)
    return defaults.get(key) if isinstance(defaults, dict) else getattr(target, key)


def _refuse(landing: Landing, at: "tuple[str | int, ...]", value: Any, kind: Any) -> None:
    landing.refused.append(Refusal(at, f"{name_of(at)}: {value!r} is not allowed; {allowed(kind)}"))


def _has_landed(kind: Any, value: Any, got: Any) -> bool:
    """Whether *value*, which fits, stands in the object as *got*: nothing cut off, nothing kept from before."""
    if is_enum(kind):
        return got is value or (isinstance(value, str) and got is kind.__members__[value])
    if kind in (int, float):
        return bool(got == kind(value))
    return bool(got == (str(value) if kind is str else value))
