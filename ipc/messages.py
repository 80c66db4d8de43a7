"""Commands and events as they travel: names, limits, coding. What each field means is in PROTOCOL.md."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ipc import PROTOCOL_VERSION
from ipc.errors import CommandError, MalformedError

COMMANDS = frozenset({"stop", "pause", "resume", "backup", "save", "sample"})
COMMAND_LINE_BYTES = 4096
"""PIPE_BUF of Linux: up to here a write into a pipe is atomic (pipe(7))."""

EVENT_LINE_BYTES = 1 << 20
"""A longer event of a trainer is dropped by the runner, and told."""

FREQUENT_EVENTS = frozenset({"step", "steps", "sampling", "status", "log"})
"""Events that may wait up to a second for their fsync; every other one is synced at once."""

_COMMAND_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Command(NamedTuple):
    """One order to a trainer; *id* makes a repetition harmless."""

    id: str
    name: str
    args: "dict[str, Any]"


def encode(value: Mapping[str, Any]) -> bytes:
    """*value* as one JSON line; a lone surrogate, which UTF-8 does not have, becomes "?".

    Raises:
        ValueError: a number in it is not finite: see `number_to_json`.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace") + b"\n"


def number_to_json(value: float) -> "float | str":
    """JSON has no NaN and no infinity; strict parsers refuse the bare words, so these travel as strings."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def number_from_json(value: Any) -> float:
    """The inverse of `number_to_json`. Raises TypeError or ValueError on anything else."""
    if isinstance(value, str):
        if value not in _NOT_FINITE:
            raise ValueError(f"{value!r} is not a number")
        return _NOT_FINITE[value]
    return float(value)


def encode_command(command: Command, *, args_in_file: bool = False) -> bytes:
    """The line for *command*; with *args_in_file* the arguments lie in `commands/<id>.json`.

    Raises:
        CommandError: an unknown name, or an id that could not be a file's name.
    """
    if command.name not in COMMANDS:
        raise CommandError(f"no command is called {command.name!r}; there are {', '.join(sorted(COMMANDS))}")
    if not _COMMAND_ID.fullmatch(command.id):
        raise CommandError(f"{command.id!r} is no command id: 1 to 64 letters, digits, '-' or '_'")
    line: dict[str, Any] = {"v": PROTOCOL_VERSION, "id": command.id, "command": command.name}
    line.update({"args_file": True} if args_in_file else {"args": command.args})
    return encode(line)


def decode_command(line: bytes) -> "tuple[Command, bool]":
    """The command in *line*, and whether its arguments lie in a file.

    Raises:
        MalformedError: the line is no command of a known version.
    """
    value = decode_object(line)
    identifier, name, args = value.get("id"), value.get("command"), value.get("args", {})
    if value.get("v") != PROTOCOL_VERSION:
        raise MalformedError(f"a command of version {value.get('v')!r}; this runner speaks {PROTOCOL_VERSION}")
    if not isinstance(identifier, str) or not _COMMAND_ID.fullmatch(identifier):
        raise MalformedError(f"{identifier!r} is no command id")
    if name not in COMMANDS or not isinstance(args, dict):
        raise MalformedError(f"command {identifier}: unknown name {name!r} or arguments that are no object")
    return Command(identifier, name, args), bool(value.get("args_file"))


def decode_object(line: bytes) -> "dict[str, Any]":
    """The JSON object in *line*. Raises MalformedError for anything else."""
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"not JSON: {line[:80]!r}") from error
    if not isinstance(value, dict):
        raise MalformedError(f"not an object: {line[:80]!r}")
    return value


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON; such numbers travel as strings")
