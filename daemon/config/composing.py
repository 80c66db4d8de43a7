"""Put a run's config together from what a client gives: a preset, a config over it, single values, concepts and samples.

OneTrainer's order (scripts/train.py): the preset over the defaults, the config over that, the values last; with a preset no migrations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daemon.config.defaults import SchemaSource
from daemon.config.inlining import LISTS
from daemon.config.merge import deep_merge
from daemon.config.path_keys import CONFIG_VALUES_KEY
from daemon.config.preset_names import by_reference
from daemon.config.presets import Presets
from daemon.config.values import Value, read_values, stored, with_values

_WHOLE = ("optimizer_defaults",)
"""Objects whose keys are data, not names of settings: OneTrainer's from_dict replaces a dict, and merges only its own config classes."""

ListOrFile = Sequence[Mapping[str, Any]] | str


@dataclass(frozen=True, slots=True)
class Overrides:
    """What goes below and above a config. *preset*: its name or reference. *concepts*, *samples*: lists, or the paths of their files."""

    preset: str | None = None
    values: Sequence[str] | Mapping[str, Any] = ()
    concepts: ListOrFile | None = None
    samples: ListOrFile | None = None

    @property
    def is_empty(self) -> bool:
        return self == Overrides()


@dataclass(frozen=True, slots=True)
class Composed:
    """*config* with everything in it; *values* are those that were set, as asked."""

    config: dict[str, Any]
    values: Sequence[Value]

    def for_onetrainer(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """*config* with the values beside it: its adapter sets them once more, when OneTrainer's migrations have run."""
        left = stored(self.values)
        return {**config, CONFIG_VALUES_KEY: left} if left else dict(config)


class Composer:
    """Safe to use from several threads; blocks on the disk."""

    def __init__(self, presets: Presets, schema: SchemaSource) -> None:
        self._presets = presets
        self._schema = schema

    def compose(self, config: Mapping[str, Any], overrides: Overrides) -> Composed:
        """*config* between the preset and the values of *overrides*.

        Raises:
            InvalidError: a name that can be no preset's, a broken preset, a value that cannot be set (code `bad_config_value`).
            NotFoundError: there is no such preset.
        """
        values = read_values(overrides.values)
        result = {key: value for key, value in config.items() if key != CONFIG_VALUES_KEY}
        if overrides.preset is not None:
            result = _over(self._presets.read(by_reference(overrides.preset)), result)
        is_migrated = "__version" in result
        result = with_values(result, values, self._schema(), is_migrated=is_migrated) if values else result
        for key, given in (("concepts", overrides.concepts), ("samples", overrides.samples)):
            if given is not None:
                result |= {key: None, LISTS[key][0]: given} if isinstance(given, str) else {key: list(given)}
        return Composed(result, values)


def _over(preset: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """*config* over *preset*. Without their versions: OneTrainer takes both as being of its present one then, and migrates neither."""
    merged = deep_merge(preset, config)
    merged |= {key: config[key] for key in _WHOLE if key in config}
    return {key: value for key, value in merged.items() if key != "__version"}


def without_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's config as it may be run again, with other values."""
    return {key: value for key, value in config.items() if key != CONFIG_VALUES_KEY}
