"""Tokens with a name and a role: `tokens.json`, which the command line changes and the daemon reads. Only their hashes are kept.

SHA-256 is the right hash here. Slow ones (argon2, bcrypt) are for passwords, which people choose and others guess; nobody guesses 256
random bits, at whatever speed, and a slow hash would make each call slow, those of strangers included.
"""

import contextlib
import hashlib
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from daemon.access.token import FIRST, give_to_owner_of
from daemon.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from ipc.atomic import read_versioned, replace_json
from ipc.errors import IpcError, LockHeldError, MalformedError
from ipc.locks import FileLock

FILE = "tokens.json"
VERSION = 1
MOST = 256
"""Each call compares with all of them."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Role = Literal["viewer", "admin"]


@dataclass(frozen=True, slots=True)
class Token:
    """Who may call, as what. *created* and *expires* are Unix seconds."""

    name: str
    role: Role
    sha256: str
    created: float
    expires: float | None = None

    def is_expired(self, now: float) -> bool:
        return self.expires is not None and now >= self.expires


def digest(token: str) -> str:
    """What is kept of a token: its SHA-256, in hex."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def read_tokens(state_dir: Path) -> list[Token]:
    """The named tokens, expired ones included; [] when none was ever made.

    Raises:
        OSError: the file cannot be read.
        IpcError: it is not what this daemon can read, or others may write to it.
    """
    path = state_dir / FILE
    try:
        status = path.lstat()
    except FileNotFoundError:
        return []
    if stat.S_ISREG(status.st_mode) and status.st_mode & 0o022:
        raise MalformedError(f"{path} has mode {stat.S_IMODE(status.st_mode):04o}: others could add a token to it; chmod 600 {path}")
    given = read_versioned(path, VERSION).get("tokens")
    if not isinstance(given, list):
        raise MalformedError(f"{path}: `tokens` is not a list")
    return [_token(item, path) for item in given]


def create_token(state_dir: Path, name: str, role: Role, now: float, lifetime_s: float | None = None) -> str:
    """Make a token, and return it: nobody can read it again. A running daemon takes it from its next call on.

    Raises:
        InvalidError: the name is none (code `bad_name`).
        ConflictError: the name is taken (code `token_exists`), or there are as many tokens as may be (code `too_many_tokens`).
        UnavailableError: the file cannot be read or written.
        NotFoundError: there is no state directory.
    """
    if not _NAME.fullmatch(name):
        raise InvalidError(f"{name[:100]!r} is no name for a token: 1 to 64 letters, digits and . _ -, no sign in front", code="bad_name")
    with _changing(state_dir) as tokens:
        if name == FIRST or any(token.name == name for token in tokens):
            raise ConflictError(f"there is a token {name!r} already; revoke it first, or choose another name", code="token_exists")
        if len(tokens) >= MOST:
            raise ConflictError(f"there are {MOST} tokens, as many as may be; revoke one that is not needed", code="too_many_tokens")
        made = secrets.token_urlsafe(32)
        tokens.append(Token(name, role, digest(made), now, None if lifetime_s is None else now + lifetime_s))
    return made


def revoke_token(state_dir: Path, name: str) -> None:
    """Remove the token *name*. A running daemon refuses its next call, and closes within seconds what it has open.

    Raises:
        NotFoundError: there is none (code `no_such_token`), or no state directory.
        ConflictError: it is the first token, which is replaced rather than revoked (code `first_token`).
        UnavailableError: the file cannot be read or written.
    """
    if name == FIRST:
        raise ConflictError(
            "the first token is what the command line itself uses; `onetrainerd token rotate` replaces it", code="first_token"
        )
    with _changing(state_dir) as tokens:
        kept = [token for token in tokens if token.name != name]
        if len(kept) == len(tokens):
            known = ", ".join(token.name for token in tokens) or "none"
            raise NotFoundError(f"there is no token {name[:100]!r}; there are: {known}", code="no_such_token")
        tokens[:] = kept


@contextlib.contextmanager
def _changing(state_dir: Path) -> Iterator[list[Token]]:
    """The tokens, to be changed in place and written back; two commands at once come one after the other."""
    if not state_dir.is_dir():
        raise NotFoundError(f"there is no state directory {state_dir}; `onetrainerd serve` makes it, or name another with --state-dir")
    lock = FileLock(state_dir / "tokens.lock")
    try:
        lock.acquire()
        try:
            give_to_owner_of(state_dir, state_dir / "tokens.lock")
            tokens = read_tokens(state_dir)
            yield tokens
            _write(state_dir, tokens)
        finally:
            lock.release()
    except LockHeldError as error:
        raise UnavailableError(f"another command is changing the tokens of {state_dir}; try again") from error
    except OSError as error:
        raise UnavailableError(f"{error.filename or state_dir / FILE} cannot be used: {error.strerror}", code="bad_token_file") from error
    except IpcError as error:
        raise UnavailableError(str(error), code="bad_token_file") from error


def _write(state_dir: Path, tokens: Sequence[Token]) -> None:
    entries = [
        {"name": token.name, "role": token.role, "sha256": token.sha256, "created": token.created, "expires": token.expires}
        for token in tokens
    ]
    replace_json(state_dir / FILE, {"v": VERSION, "tokens": entries}, 0o600)
    give_to_owner_of(state_dir, state_dir / FILE)


def _token(item: Any, path: Path) -> Token:
    """One entry, of which every field counts: an expiry that is passed over would be a token for ever."""
    match item:
        case {"name": str(name), "role": "viewer" | "admin" as role, "sha256": str(sha256), "created": int() | float() as created}:
            expires = item.get("expires")
            if re.fullmatch(r"[0-9a-f]{64}", sha256) and (expires is None or isinstance(expires, int | float)):
                return Token(name, role, sha256, float(created), None if expires is None else float(expires))
        case _:
            pass
    raise MalformedError(f"{path}: an entry is not {{name, role, sha256, created, expires}}")
