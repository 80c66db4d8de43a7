"""Single values over OneTrainer's config, by the rule of its `scripts/train.py`: `--config-value a.b.c=value`."""

import difflib
from collections.abc import Mapping
from typing import Any

from trainer_runner.backends.onetrainer.landing import apply
from trainer_runner.trainer.backend import ConfigError

_TRUE = ("true", "1", "yes")


def set_values(config: Any, values: "Mapping[str, Any]") -> None:
    """Set each of *values*, in order: the parts of a key are attributes, a text for a switch is true if it is one of three words.

    Raises:
        ConfigError: there is no such key, or the value did not land.
    """
    for key, value in values.items():
        *parents, leaf = key.split(".")
        target = config
        for parent in parents:
            target = _at(target, parent, key)
        _at(target, leaf, key)
        if target.types[leaf] is bool and isinstance(value, str):
            value = value.strip().lower() in _TRUE
        if refused := apply(target, {leaf: value}, tuple(parents), migrate=False).refused:
            raise ConfigError(f"config_values: {'; '.join(refusal.sentence for refusal in refused)}")


def _at(target: Any, name: str, key: str) -> Any:
    known = getattr(target, "types", {})
    if name not in known:
        near = difflib.get_close_matches(name, list(known), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"config_values: {key}: this OneTrainer's config has no {name!r} there{hint}")
    return getattr(target, name)
