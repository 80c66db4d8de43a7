"""Write the pages that say what every setting does, out of the settings model: `make settings`. A test holds that they are current.

`configs/onetrainerd.toml` (every key with its default) and `docs/settings.md`. Nothing of the daemon imports this.
"""

import inspect
import json
import sys
import textwrap
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic.fields import FieldInfo

from daemon.settings.model import Section, Settings
from daemon.settings.sources import ALIASES, PREFIX

_WIDTH = 140
_TOML_HEAD = """\
# The settings of onetrainerd: every key with its default. Keep only the lines you change.
# This file is made from daemon/settings/model.py by `make settings`; docs/settings.md says the same as a page.
#
# A flag of `onetrainerd serve` wins over an environment variable, a variable over this file:
#   --port 9000     ONETRAINERD_PORT=9000     ONETRAINERD_STOP__GRACE_S=30
# Relative paths are relative to the working directory; ~ is the home folder of the user that the daemon runs as.
"""
_PAGE_HEAD = """\
# The settings

This page is made from `daemon/settings/model.py` by `make settings`. `configs/onetrainerd.toml` is the same as a file to start from.

Each setting is a key of the TOML file (`onetrainerd serve --config FILE`, or `ONETRAINERD_CONFIG`), an environment variable, and for the
common ones a flag of `onetrainerd serve`. A flag wins over a variable, a variable over the file, the file over the default. In a variable
a list is JSON or items between commas. An unknown key or a wrong value is refused with its source, its value and what is allowed.

"Live" settings come into force with a reload: `systemctl reload onetrainerd`, or SIGHUP to the daemon. The others wait for a restart,
which leaves trainings alone. A file with an error in it changes nothing: the log names the error, and the settings in force stay.
"""


@dataclass(frozen=True)
class Entry:
    """One setting."""

    key: str
    field: FieldInfo
    is_live: bool

    @property
    def variables(self) -> list[str]:
        aliases = [name for name, key in ALIASES.items() if key == self.key]
        return [PREFIX + self.key.upper().replace(".", "__"), *aliases]

    @property
    def default(self) -> str:
        """As it stands in the file."""
        value = self.field.default
        if isinstance(value, tuple):
            return json.dumps(list(value))
        return json.dumps(value) if isinstance(value, str | bool) else repr(value)

    @property
    def text(self) -> str:
        """Raises ValueError for a setting without a docstring."""
        if not self.field.description:
            raise ValueError(f"{self.key} has no docstring in daemon/settings/model.py")
        return " ".join(self.field.description.split())


def sections() -> Iterator[tuple[str, type[Section], list[Entry]]]:
    """Name ("" for the keys outside of sections), model and settings of each section, in the model's order."""
    yield "", Settings, list(_entries(Settings, ""))
    for name, field in Settings.model_fields.items():
        if (model := _section_of(field)) is not None:
            yield name, model, list(_entries(model, f"{name}."))


def _entries(model: type[Section], prefix: str) -> Iterator[Entry]:
    for name, field in model.model_fields.items():
        if _section_of(field) is None:
            yield Entry(prefix + name, field, name in model.live)


def _section_of(field: FieldInfo) -> type[Section] | None:
    kind = field.annotation
    return kind if inspect.isclass(kind) and issubclass(kind, Section) else None


def toml() -> str:
    """configs/onetrainerd.toml."""
    parts = [_TOML_HEAD]
    for name, _, entries in sections():
        blocks = [f"{_comment(entry.text)}\n{entry.key.removeprefix(f'{name}.')} = {entry.default}\n" for entry in entries]
        if name:
            blocks[0] = f"[{name}]\n{blocks[0]}"
        parts += blocks
    return "\n".join(parts)


def page() -> str:
    """docs/settings.md."""
    parts = [_PAGE_HEAD]
    for name, model, entries in sections():
        parts.append(f"## `[{name}]`\n" if name else "## Outside of any section\n")
        if name and (intro := model.__dict__.get("__doc__")):
            parts.append(f"{' '.join(inspect.cleandoc(intro).split())}\n")
        lines = ["| Key | Default | Allowed | Live | What it does |", "|---|---|---|---|---|"]
        for entry in entries:
            named = "<br>".join(f"`{text}`" for text in (entry.key.removeprefix(f"{name}."), *entry.variables))
            cells = [
                named,
                f"`{entry.default}`",
                _allowed(entry.field),
                "yes" if entry.is_live else "restart",
                entry.text.replace("<", "&lt;"),
            ]
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _comment(text: str) -> str:
    return "\n".join(
        textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False, break_long_words=False)
    )


def _allowed(field: FieldInfo) -> str:
    bounds = {name: getattr(item, name) for item in field.metadata for name in ("ge", "gt", "le", "lt") if hasattr(item, name)}
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return " ".join([_kind(field.annotation), *(f"{signs[name]} {value:,}" for name, value in bounds.items() if value is not None)])


def _kind(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is typing.Annotated:
        return _kind(arguments[0])
    if origin in {tuple, list}:
        return f"list of {_kind(arguments[0])}"
    if origin in {types.UnionType, typing.Union}:
        return ", ".join(_kind(one) for one in arguments if one is not type(None)) + ", or empty"
    words: dict[object, str] = {str: "text", int: "whole number", float: "number", bool: "true, false", Path: "path"}
    return words.get(annotation, getattr(annotation, "__name__", str(annotation)))


def main(repository: Path) -> None:
    (repository / "configs" / "onetrainerd.toml").write_text(toml(), encoding="utf-8")
    (repository / "docs" / "settings.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd())
