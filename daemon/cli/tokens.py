"""`onetrainerd token create`, `list`, `revoke`, `rotate`: who may call this daemon. They work on its files, whether it runs or not."""

import datetime
import json
import math
import re
import sys
import time
from pathlib import Path
from typing import Any

from daemon.access.named_tokens import Role, create_token, read_tokens, revoke_token
from daemon.access.token import FIRST, rotate_token
from daemon.errors import InvalidError, UnavailableError
from daemon.stdout import tell
from ipc.errors import IpcError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
_LONGEST_S = 100 * 365 * 86400


def create(state_dir: Path, name: str, role: str, expires: str | None) -> None:
    """Print a new token: on standard output alone, so that a script can take it."""
    lifetime_s = _seconds(expires) if expires else None
    made = create_token(state_dir, name, _role(role), time.time(), lifetime_s)
    try:
        tell(made)
    except UnavailableError:
        revoke_token(state_dir, name)  # nobody has it
        raise
    until = f", for {expires}" if expires else ""
    sys.stderr.write(f"this is the {role} token {name!r}{until}; it is shown only now\n")


def show(state_dir: Path, *, as_json: bool) -> None:
    """Print what tokens there are, never the tokens."""
    now = time.time()
    entries = [*_first(state_dir), *(_entry(token.name, token.role, token.created, token.expires, now) for token in _named(state_dir))]
    if as_json:
        tell(json.dumps({"tokens": entries}, indent=2))
        return
    for entry in entries:
        until = "expired" if entry["expired"] else f"until {_day(entry['expires'])}" if entry["expires"] else ""
        tell(f"{entry['name']:<24} {entry['role']:<8} made {_day(entry['created'])}  {until}".rstrip())


def revoke(state_dir: Path, name: str) -> None:
    revoke_token(state_dir, name)
    sys.stderr.write(f"token {name!r} is revoked\n")


def rotate(state_dir: Path) -> None:
    """Replace the first token, and print the new one."""
    tell(rotate_token(state_dir / "token"))


def _named(state_dir: Path) -> Any:
    try:
        return read_tokens(state_dir)
    except OSError as error:
        raise UnavailableError(f"{error.filename} cannot be read: {error.strerror}", code="bad_token_file") from error
    except IpcError as error:
        raise UnavailableError(str(error), code="bad_token_file") from error


def _first(state_dir: Path) -> list[dict[str, Any]]:
    try:
        made = (state_dir / "token").lstat().st_mtime
    except OSError:
        return []
    return [_entry(FIRST, "admin", made, None, made)]


def _entry(name: str, role: str, created: float, expires: float | None, now: float) -> dict[str, Any]:
    expired = expires is not None and now >= expires
    return {"name": name, "role": role, "created": created, "expires": expires, "expired": expired}


def _day(at: float) -> str:
    return datetime.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")


def _role(text: str) -> Role:
    if text == "viewer":
        return "viewer"
    if text == "admin":
        return "admin"
    raise InvalidError(f"--role: {text[:100]!r} is not allowed: should be 'viewer' or 'admin'", code="bad_role")


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdwy])", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else math.nan
    if not 0 < seconds <= _LONGEST_S:
        raise InvalidError(f"--expires: {text[:100]!r} is not allowed: should be like 12h, 30d, 8w or 1y, at most 100y", code="bad_expiry")
    return seconds
