"""Kinds of values that settings have, each with what it takes and how it says no."""

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach *host* (a name or an address)."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def surroundings(info: ValidationInfo) -> tuple[Path, Mapping[str, str]]:
    """The working directory and the environment that relative paths, `~` and the state folder follow."""
    context = info.context or {}
    return context.get("cwd", Path.cwd()), context.get("environ", os.environ)


def absolute(text: object, info: ValidationInfo) -> Path:
    cwd, environ = surroundings(info)
    if not isinstance(text, str | Path) or "\0" in str(text):
        raise ValueError("should be a path")
    path = Path(text)
    if path.parts[:1] == ("~",):
        path = Path(environ.get("HOME") or Path.home()).joinpath(*path.parts[1:])
    return Path(os.path.normpath(cwd / path.expanduser()))


def empty_is_none(value: object) -> object:
    return None if value == "" else value


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


def host_name(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        if not re.fullmatch(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", value):
            raise ValueError("should be an address or a host name, without a port and without brackets") from None
        return value.lower()


def allowed_host(value: str) -> str:
    if not re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9-]+(\.[a-z0-9-]+)*)(:\d{1,5})?", value.lower()):
        raise ValueError("should be hosts as in a Host header: name, name:port, address, [v6 address]:port")
    return value.lower()


def origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.netloc or value != f"{parts.scheme}://{parts.netloc}":
        raise ValueError("should be origins: http(s)://host[:port], without a path; '*' and 'null' are not allowed")
    return value.lower()


def raw(default: object) -> Any:
    """A default as it would stand in the file; it is validated like any given value."""
    return Field(default=default)


LocalPath = Annotated[Path, BeforeValidator(absolute)]
OptionalPath = Annotated[LocalPath | None, BeforeValidator(empty_is_none)]
Number = BeforeValidator(_no_bool)
Seconds = Annotated[float, Number, Field(ge=0, allow_inf_nan=False)]
Bytes = Annotated[int, Number, Field(ge=0)]
RestartCause = Literal[
    "cuda_oom", "host_oom", "nan_loss", "disk_full", "config_error", "missing_file", "exception", "crash", "killed", "start_failed",
    "unknown", "stalled", "lost",
]  # fmt: skip
"""`daemon.runs.policies.CAUSES`, which lies above this room; a test holds them equal."""
