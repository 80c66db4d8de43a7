"""Validation in depth: the trainer's own code reads the config, and what became of each value is told. Trains nothing, reads no file.

An answer is `{"refused": [{"path": […], "message": "…"}], "unknown": [[…]], "config": {…}|null}`: *unknown* are keys that it drops,
*config* is what it would train with, secrets left out. Where it can read nothing at all, `path` is empty.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer_runner.trainer.backend import ConfigError

Check = Callable[["Mapping[str, Any]"], "dict[str, Any]"]


def open_check(backend: str) -> Check:
    """The check of *backend*; of OneTrainer, that in the working directory. Raises ConfigError when it is none that can be imported."""
    if backend == "builtin":
        return check_builtin
    from trainer_runner.backends.onetrainer.checkout import open_configs  # noqa: PLC0415 - one backend's half alone

    train_config = open_configs(Path.cwd()).train_config
    return lambda values: check_onetrainer(train_config, values)


def check_onetrainer(train_config: Any, values: "Mapping[str, Any]") -> "dict[str, Any]":
    """By the rules that a run is loaded with: see `backends/onetrainer/config.py`."""
    from trainer_runner.backends.onetrainer.config import is_versioned  # noqa: PLC0415 - one backend's half alone
    from trainer_runner.backends.onetrainer.landing import apply, name_of  # noqa: PLC0415 - likewise

    config = train_config.default_values()
    try:
        landing = apply(config, values, migrate=is_versioned(values))
    except ConfigError as error:
        return {"refused": [{"path": [], "message": str(error)}], "unknown": [], "config": None}  # its version, or a migration
    return {
        "refused": [
            {"path": refusal.path, "message": refusal.sentence.removeprefix(f"{name_of(refusal.path)}: ")} for refusal in landing.refused
        ],
        "unknown": [path for path in landing.unknown if path[0] in values],  # a migration makes keys of its own that nobody reads
        "config": _normalised(config),
    }


def _normalised(config: Any) -> "dict[str, Any] | None":
    """OneTrainer's own JSON of *config*; None when a refused value keeps it from being written."""
    try:
        written = config.to_dict()
        written.pop("secrets", None)
        plain: dict[str, Any] = json.loads(json.dumps(written, allow_nan=False))
    except (TypeError, ValueError, AttributeError):
        return None
    return plain


def check_builtin(values: "Mapping[str, Any]") -> "dict[str, Any]":
    from trainer_runner.backends.builtin.config import load  # noqa: PLC0415 - one backend's half alone

    try:
        loaded = load({"concepts": [], **values})  # its files have been read into it
    except ConfigError as error:
        refused = [{"path": _path_of(line), "message": line} for line in str(error).splitlines()]
        return {"refused": refused, "unknown": [], "config": None}
    unknown = [key.replace("[]", "").split(".") for key, _ in loaded.unknown]
    return {"refused": [], "unknown": unknown, "config": loaded.config.to_json()}


def _path_of(line: str) -> "list[str | int]":
    """Of `concepts[0].path is …`."""
    name = line.partition(" is ")[0]
    return [int(part) if part.isdigit() else part for part in name.replace("[", ".").replace("]", "").split(".") if part]
