"""Read settings from flags, environment and a TOML file, and remember which source each value came from. Knows no single key."""

import difflib
import errno
import inspect
import json
import os
import stat
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

PREFIX = "ONETRAINERD_"
RESERVED = frozenset({"ONETRAINERD_CONFIG", "ONETRAINERD_TOKEN", "ONETRAINERD_URL"})
"""Variables with our prefix that are no setting: the file itself, and what the command-line client reads."""
ALIASES = {"ONETRAINER_HOME": "onetrainer.home", "ONETRAINER_PYTHON": "onetrainer.python"}
FILE_LIMIT_BYTES = 1 << 20
KeyKinds = dict[str, bool]
"""Dotted key → whether its value is a list."""


@dataclass(frozen=True)
class Given:
    """A value that somebody gave, and who."""

    value: object
    source: str


def read_all(
    model: type[BaseModel], flags: Mapping[str, object], environ: Mapping[str, str], cwd: Path
) -> tuple[dict[str, Given], list[str]]:
    """What was given for each dotted key, by the strongest source, and a line for everything that is no setting."""
    keys = _keys_of(model)
    problems: list[str] = []
    given: dict[str, Given] = {}
    if file := flags.get("config") or environ.get("ONETRAINERD_CONFIG"):
        given |= _read_file(cwd / Path(str(file)).expanduser(), keys, problems)
    given |= _read_environment(environ, keys, problems)
    given |= _read_flags(flags, keys, problems)
    return given, problems


def nest(values: Mapping[str, object]) -> dict[str, Any]:
    """`{"stop.grace_s": 5}` as `{"stop": {"grace_s": 5}}`."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, last = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return nested


def _keys_of(model: type[BaseModel], prefix: str = "") -> KeyKinds:
    keys: KeyKinds = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if inspect.isclass(kind) and issubclass(kind, BaseModel):
            keys |= _keys_of(kind, f"{prefix}{name}.")
        else:
            keys[prefix + name] = typing.get_origin(kind) in {tuple, list}
    return keys


def _read_flags(flags: Mapping[str, object], keys: KeyKinds, problems: list[str]) -> dict[str, Given]:
    given = {}
    for key, value in flags.items():
        flag = "--" + key.replace("_", "-")
        if value is None or key == "config":
            continue
        if key in keys:
            given[key] = Given(value, flag)
        else:
            problems.append(f"{flag}: no such setting{_nearest(key, keys)}")
    return given


def _read_environment(environ: Mapping[str, str], keys: KeyKinds, problems: list[str]) -> dict[str, Given]:
    given = {ALIASES[name]: Given(environ[name], name) for name in ALIASES if environ.get(name)}
    names = {PREFIX + key.upper().replace(".", "__"): key for key in keys}
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX) or name in RESERVED or not text:
            continue
        if name not in names:
            problems.append(f"environment: {name} is no setting{_nearest(name, names)}")
        else:
            key = names[name]
            given[key] = Given(_split(text) if keys[key] else text, name)
    return given


def _split(text: str) -> object:
    """A list in a variable: JSON, or items between commas."""
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return [item.strip() for item in text.split(",") if item.strip()]


def _read_file(path: Path, keys: KeyKinds, problems: list[str]) -> dict[str, Given]:
    try:
        # O_NONBLOCK: open(2) of a FIFO without a writer would wait for ever.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            data = file.read(FILE_LIMIT_BYTES + 1)
        if len(data) > FILE_LIMIT_BYTES:
            raise ValueError(f"it is larger than {FILE_LIMIT_BYTES} bytes")
        table = tomllib.loads(data.decode())
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}; give the settings file by --config or ONETRAINERD_CONFIG")
        return {}
    except ValueError as error:
        problems.append(f"{path}: not valid TOML: {error}")
        return {}
    sections = {key.split(".")[0] for key in keys if "." in key}
    given: dict[str, Given] = {}
    for name, value in table.items():
        if name in sections and not isinstance(value, dict):
            problems.append(f"{path}: {name} is a section, written as [{name}], not a value")
            continue
        items = {f"{name}.{inner}": item for inner, item in value.items()} if name in sections else {name: value}
        for key, item in items.items():
            if key in keys:
                given[key] = Given(item, str(path))
            else:
                problems.append(f"{path}: {key} is no setting{_nearest(key, keys)}")
    return given


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else f"; known are: {', '.join(known)}"
