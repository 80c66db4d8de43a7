"""The built-in trainer, described in the form of a OneTrainer. Imports no torch.

`python -m trainer_runner.catalog.builtin` prints what `configs/builtin.catalog.json` holds.
"""

import json
import sys
import typing
from dataclasses import fields
from typing import Any

from trainer_runner.backends.builtin.config import OptimizerConfig, TrainConfig
from trainer_runner.backends.builtin.config import describe as describe_schema

VERSION = 1


def describe_builtin() -> "dict[str, Any]":
    """catalog.json of PROTOCOL.md. It is the same on all machines: Python and torch are not in it."""
    hints = typing.get_type_hints(TrainConfig)
    methods, formats = (list(typing.get_args(hints[name])) for name in ("training_method", "output_model_format"))
    model = {
        "name": "BUILTIN",
        "traits": [],
        "training_methods": methods,
        "parts": [],
        "output_formats": dict.fromkeys(methods, formats),
    }
    return {
        "v": VERSION, "backend": "builtin", "config_version": 0, "schema": describe_schema(),
        "model_types": [model], "optimizers": _optimizers(), "missing": [], "commit": None, "commit_date": None, "is_modified": None,
        "python_version": None, "torch_version": None, "cuda_version": None,
    }  # fmt: skip


def _optimizers() -> "dict[str, dict[str, Any]]":
    """Which parameters each takes is in their descriptions, which begin with the optimizers' names, or hold for all."""
    names = typing.get_args(typing.get_type_hints(OptimizerConfig)["optimizer"])
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    for field in fields(OptimizerConfig):
        if field.name != "optimizer":
            takers = field.metadata["description"].partition(";")[0].split(", ")
            for name in names if takers[0] not in names else takers:
                found[name][field.name] = field.default
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(describe_builtin(), indent=2) + "\n")
