"""Configs by their names, laid over the trainer's defaults and compared. Blocks on the disk."""

from collections.abc import Mapping
from typing import Any

from daemon.config.current import CurrentConfig
from daemon.config.defaults import SchemaSource, defaults_of
from daemon.config.diff import Change, changes
from daemon.config.masking import masked
from daemon.config.merge import deep_merge
from daemon.config.preset_names import by_reference
from daemon.config.presets import Presets
from daemon.errors import InvalidError

DEFAULTS, CURRENT, PRESET = "defaults", "current", "preset:"


class Comparer:
    """What is different between the defaults, the current config and presets. Safe to use from several threads."""

    def __init__(self, schema: SchemaSource, current: CurrentConfig, presets: Presets) -> None:
        self._schema = schema
        self._current = current
        self._presets = presets

    def complete(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """*config* over the defaults: what the trainer would run, as far as its schema tells."""
        return deep_merge(defaults_of(self._schema()), config)

    def compare(self, base: str, config: str) -> list[Change]:
        """From *base* to *config*, each `defaults`, `current` or `preset:NAME`, without secrets.

        Both are laid over the defaults first, since a preset is partial: a key that it leaves out has its default.

        Raises:
            InvalidError: a name that is none of these (code `bad_config_name`), or a broken file.
            NotFoundError: there is no such preset, or no current config.
        """
        return list(changes(masked(self.complete(self._named(base, "base"))), masked(self.complete(self._named(config, "config")))))

    def _named(self, name: str, parameter: str) -> Mapping[str, Any]:
        if name == DEFAULTS:
            return {}
        if name == CURRENT:
            return self._current.get()
        if name.startswith(PRESET):
            return self._presets.read(by_reference(name.removeprefix(PRESET)))
        shown = name[:100].encode("utf-8", "replace").decode()
        raise InvalidError(f"{parameter}: {shown!r} names no config; it is defaults, current or preset:NAME", code="bad_config_name")
