"""The shipped units, filled in for a machine. Pure, but for reading the shipped files."""

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.cli.installing.place import Owner, Place
from daemon.data import data_folder
from daemon.errors import InvalidError
from daemon.settings.model import Settings

_FIELD = re.compile(r"@([a-z_]+)@")
_HOMES = tuple(Path(name) for name in ("/home", "/root", "/run/user"))
_TEMPORARY = tuple(Path(name) for name in ("/tmp", "/var/tmp"))  # noqa: S108  # nosec B108 - what PrivateTmp hides
_STOP_MARGIN_S = 90
_MEMORY = re.compile(r"\d+(\.\d+)?[KMGT]?|\d+(\.\d+)?%|infinity")


@dataclass(frozen=True)
class Facts:
    """What the units are made of. *groups* are those of the GPU's nodes that this machine has."""

    place: Place
    owner: Owner
    settings: Settings
    groups: Sequence[str]


def render(name: str, facts: Facts) -> str:
    """The shipped file *name* for this machine."""
    values = _values(facts)
    text = (data_folder("systemd") / name).read_text()
    lines = [_FIELD.sub(lambda found: values[found[1]], line) for line in text.splitlines()]
    # A directive without a value would reset, which is not what an absent group or folder means.
    kept = [line for line, before in zip(lines, text.splitlines(), strict=True) if line == before or (not line.endswith("=") and line)]
    return "\n".join(kept) + "\n"


def memory_limits(high: str | None, maximum: str | None) -> str:
    """The drop-in with the limits of one training. Raises InvalidError for what systemd.resource-control(5) does not know."""
    lines = ["# Written by `onetrainerd install --memory-high … --memory-max …`: the limits of one training.", "[Service]"]
    for flag, directive, value in (("--memory-high", "MemoryHigh", high), ("--memory-max", "MemoryMax", maximum)):
        if value is None:
            continue
        if not _MEMORY.fullmatch(value):
            raise InvalidError(f"{flag}: {value!r} is no amount of memory: bytes with K, M, G or T after them, 75%, or infinity")
        lines.append(f"{directive}={value}")
    return "\n".join(lines) + "\n"


def _values(facts: Facts) -> dict[str, str]:
    settings, place = facts.settings, facts.place
    roots = settings.client_roots()
    programs = [Path(sys.prefix), Path(sys.base_prefix), Path(__file__).resolve(), *filter(None, [settings.onetrainer.python])]
    is_default_state = settings.state_dir == place.default_state and not place.is_user
    stop_s = settings.stop.grace_s + settings.stop.term_s + _STOP_MARGIN_S
    return {
        "python": word(sys.executable, in_command=True),
        "settings": word(place.settings, in_command=True),
        "state_dir": _plain(settings.state_dir),
        "state_directory": f"StateDirectory={place.default_state.name}\nStateDirectoryMode=0700" if is_default_state else "",
        "home": str(facts.owner.home).replace("%", "%%"),
        "run_socket": word(place.run_socket),
        "user": facts.owner.name,
        "group": facts.owner.group,
        "groups": " ".join(facts.groups),
        # A folder that is not there (yet) must not keep the unit from starting.
        "write_paths": " ".join(word(root, before="-") for root in roots),
        "secret_paths": " ".join(word(path, before="-") for path in _secrets(settings)),
        "protect_home": "read-only" if _any_below(_HOMES, [*roots, *programs]) else "yes",
        "private_tmp": "no" if _any_below(_TEMPORARY, [*roots, *programs]) else "yes",
        "stop_s": f"{stop_s:.0f}",
    }


def _secrets(settings: Settings) -> list[Path]:
    """What the daemon keeps for itself (PROTOCOL.md, the state directory)."""
    rotated = [f"audit.jsonl.{number}" for number in range(1, 6)]
    names = ["token", "tokens.json", "current.secrets.json", "audit.jsonl", *rotated]
    return [*(settings.state_dir / name for name in names), *filter(None, [settings.tls.key])]


def word(value: str | Path, *, before: str = "", in_command: bool = False) -> str:
    """One word of a unit's line, quoted where it must be (systemd.syntax(7)); % and, in commands, $ stand for themselves."""
    text = before + str(value).replace("%", "%%")
    if in_command:
        text = text.replace("$", "$$")
    if not re.search(r"[\s\"'\\;]", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _plain(path: Path) -> str:
    """*path*, for files of several syntaxes. Raises InvalidError where these would differ."""
    if not re.fullmatch(r"[A-Za-z0-9_./@+:,-]+", str(path)):
        raise InvalidError(
            f"state_dir = {str(path)!r}: a service needs a state directory whose path has letters, digits and _./@+:,- alone"
        )
    return str(path)


def _any_below(folders: Iterable[Path], paths: Iterable[Path]) -> bool:
    return any(path.resolve().is_relative_to(folder) for folder in folders for path in paths)
