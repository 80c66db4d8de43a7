"""Describe the OneTrainer checkout that is the working directory. What an older one lacks is named in *missing*; nothing fails for it."""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from trainer_runner.backends.onetrainer.checkout import open_configs, optional_name
from trainer_runner.catalog.model_types import describe_model_types
from trainer_runner.catalog.optimizers import describe_optimizers
from trainer_runner.catalog.schemas import describe_configs

VERSION = 1
_GIT_S = 10


def describe_onetrainer(root: Path) -> "dict[str, Any]":
    """catalog.json of PROTOCOL.md, without its fingerprint.

    Raises:
        ConfigError: it is no checkout, or its configs cannot be imported; in one line.
    """
    configs = open_configs(root)
    classes = {
        "TrainConfig": configs.train_config, "ConceptConfig": configs.concept_config, "SampleConfig": configs.sample_config,
        "SecretsConfig": configs.secrets_config,
    }  # fmt: skip
    schema = describe_configs({name: cls for name, cls in classes.items() if cls is not None})
    missing = [f"schema: this OneTrainer has no {name}" for name, cls in classes.items() if cls is None]
    types = configs.train_config.default_values().types
    model_types: list[dict[str, Any]] = []
    if hasattr(types.get("model_type"), "__members__"):
        model_types, unknown = describe_model_types(types["model_type"], types.get("training_method"), root)
        missing += unknown
    else:
        missing.append("model types: this OneTrainer has no enum of them")
    optimizer = optional_name(root, "modules.util.enum.Optimizer", "Optimizer")
    optimizers = describe_optimizers(optimizer, root) if optimizer is not None else None
    if optimizers is None:
        missing.append("optimizers: this OneTrainer has no table of their parameters")
    return {
        "v": VERSION, "backend": "onetrainer", "config_version": schema["$defs"]["TrainConfig"].get("x-version", 0), "schema": schema,
        "model_types": model_types, "optimizers": optimizers or {}, "missing": missing, **_surroundings(root),
    }  # fmt: skip


def _surroundings(root: Path) -> "dict[str, Any]":
    torch: Any = sys.modules.get("torch")
    commit, _, date = (_git(root, "log", "-1", "--format=%H %cI") or " ").partition(" ")
    return {
        "commit": commit or None,
        "commit_date": date or None,
        "is_modified": None if not commit else bool(_git(root, "status", "--porcelain", "--untracked-files=no")),
        "python_version": platform.python_version(),
        "torch_version": str(torch.__version__) if hasattr(torch, "__version__") else None,
        "cuda_version": getattr(getattr(torch, "version", None), "cuda", None),
    }


def _git(root: Path, *arguments: str) -> "str | None":
    """What git says; None where there is no git, no repository, or one that is not ours to read."""
    command = ["git", "-C", str(root), "-c", "core.fsmonitor=false", *arguments]
    nothing = subprocess.DEVNULL
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_GIT_S, check=True, stdin=nothing)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
