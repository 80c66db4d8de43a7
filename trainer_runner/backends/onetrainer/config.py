"""The run's config by OneTrainer's own rules (its `scripts/train.py`), made safe for a run that nobody watches."""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_runner.backends.onetrainer.checkout import Checkout
from trainer_runner.backends.onetrainer.landing import Landing, apply, name_of
from trainer_runner.backends.onetrainer.line_values import set_values
from trainer_runner.trainer.backend import ConfigError
from trainer_runner.trainer.session import Session

PRESET_KEY = "__preset"
"""In a run's config: a preset (an object, or the path of one) that OneTrainer merges first, without migration."""

VALUES_KEY = "__config_values"
"""In a run's config: single values by keys with dots, set last and never migrated, as `scripts/train.py` sets its `--config-value`s."""


def load_config(checkout: Checkout, session: Session) -> Any:
    """OneTrainer's TrainConfig for `session.config`, with concepts and samples inside it.

    Raises:
        ConfigError: a value that OneTrainer would only print and ignore, named with what is allowed.
        FileNotFoundError: a file or folder that the config names is missing.
    """
    config = checkout.train_config.default_values()
    values = dict(session.config)
    preset, line_values = values.pop(PRESET_KEY, None), values.pop(VALUES_KEY, {})
    if preset is not None:
        _check(apply(config, _preset(preset), migrate=False), session, "the preset")
    if preset is None and not is_versioned(values):
        session.log("info", "the config has no __version: its keys are taken as those of the present version")
    _check(apply(config, values, migrate=preset is None and is_versioned(values)), session, "the config")
    set_values(config, line_values)
    _inline_concepts(config, checkout, session)
    _inline_samples(config, checkout, session)
    _take_secrets(config, checkout, session)
    _switch_off_what_needs_a_person(config, session)
    _tell_what_it_became(config, session)
    return config


def _check(landing: Landing, session: Session, what: str) -> None:
    if landing.unknown:
        session.log("warning", f"{what}: this OneTrainer knows no {', '.join(map(name_of, landing.unknown[:20]))}; ignored")
    if landing.refused:
        raise ConfigError(f"{what}: " + "; ".join(refusal.sentence for refusal in landing.refused))


def _tell_what_it_became(config: Any, session: Session) -> None:
    """As OneTrainer writes it into the workspace; its concepts and samples are inside by now."""
    try:
        session.understood({key: value for key, value in config.to_dict().items() if key != "secrets"})
    except Exception as error:  # noqa: BLE001 - a value that OneTrainer cannot write stops it much later, if ever
        session.log("warning", f"OneTrainer cannot write down its own config: {type(error).__name__}: {error}")


def is_versioned(values: "Mapping[str, Any]") -> bool:
    """Whether migrations are due. Without `__version` OneTrainer runs them from 0, and crashes on all but whole configs of 2023."""
    return "__version" in values or isinstance(values.get("optimizer"), str)


def _preset(preset: Any) -> "Mapping[str, Any]":
    if isinstance(preset, Mapping):
        return preset
    value = _read_json(Path(str(preset)), PRESET_KEY)
    if not isinstance(value, dict):
        raise ConfigError(f"{PRESET_KEY}: {preset} is no JSON object")
    return value


def _read_json(path: Path, key: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, f"{key}: there is no such file", str(path)) from error
    except (ValueError, OSError) as error:
        raise ConfigError(f"{key}: {path} cannot be read as JSON: {error}") from error


def _inline_concepts(config: Any, checkout: Checkout, session: Session) -> None:
    """Take the concepts into the config, so that a later edit of their file changes nothing; their folders must be there."""
    if config.concepts is None:
        new = checkout.concept_config.default_values
        config.concepts = _read_list(config.concept_file_name, "concept_file_name", new, "concepts", session)
    for index, concept in enumerate(config.concepts):
        path = Path(concept.path)
        # A relative path of two parts may be a data set on the Hugging Face hub: OneTrainer's to look up.
        if concept.enabled and not path.is_dir() and (path.is_absolute() or len(path.parts) != 2):
            name = concept.name or "unnamed"
            raise FileNotFoundError(errno.ENOENT, f"concepts[{index}].path ({name}): there is no such folder", str(path))


def _inline_samples(config: Any, checkout: Checkout, session: Session) -> None:
    if config.samples is not None:
        return
    file = config.sample_definition_file_name
    if not Path(file).is_file() and str(config.sample_after_unit) == "NEVER":
        config.samples = []  # OneTrainer fails here even though it is not to sample
        return
    config.samples = _read_list(
        file, "sample_definition_file_name", lambda: checkout.new_sample_config(config.model_type), "samples", session
    )


def _read_list(file: str, key: str, new: Any, name: str, session: Session) -> "list[Any]":
    values = _read_json(Path(file), key)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ConfigError(f"{key}: {file} is no JSON list of objects")
    items = []
    for index, value in enumerate(values):
        item = new()
        _check(apply(item, value, (name, index), migrate=True), session, f"{key} {file}")
        items.append(item)
    return items


def _take_secrets(config: Any, checkout: Checkout, session: Session) -> None:
    """The run's secrets, else OneTrainer's own secrets.json beside it, as its `scripts/train.py` reads them."""
    if checkout.secrets_config is None:
        return
    secrets = session.secrets
    own = checkout.root / "secrets.json"
    if not secrets and own.is_file():
        secrets = _read_json(own, "secrets.json")
    if secrets:
        try:
            config.secrets = checkout.secrets_config.default_values().from_dict(secrets)
        except (TypeError, AttributeError) as error:
            raise ConfigError("the secrets are not what OneTrainer reads: an object with huggingface_token and cloud") from error


def _switch_off_what_needs_a_person(config: Any, session: Session) -> None:
    cloud = getattr(config, "cloud", None)
    if cloud is not None and cloud.enabled:
        cloud.enabled = False
        session.log("warning", "cloud.enabled is switched off: onetrainerd trains on its own machine; run the daemon in the cloud instead")
    if config.tensorboard:
        config.tensorboard = False
        folder = os.path.join(config.workspace_dir, "tensorboard")  # noqa: PTH118 - as OneTrainer writes it, for people to paste
        session.log("info", f"tensorboard is switched off: its server would outlive a crash; its event files are in {folder} all the same")
    if config.base_model_name.strip() == "":
        raise ConfigError("base_model_name is empty: give the path of a model, or its name on the Hugging Face hub")
