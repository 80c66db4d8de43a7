"""Whom the daemon knows: the first token and the named ones, as they are on disk at this moment."""

import hmac
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from daemon.access.named_tokens import FILE, Token, digest, read_tokens
from daemon.access.token import FIRST, read_token
from daemon.errors import NotFoundError, UnavailableError
from ipc.errors import IpcError

_LOG = logging.getLogger(__name__)

Stamp = tuple[int, int, int, int] | None
"""Inode, size, times of change: another one for each replaced file. None: there is no file."""
Told = Callable[[str, Token], None]


class TokenBook:
    """Reads the two files again when they have changed, which each question looks at: two calls of stat(2).

    A file that cannot be read (no descriptor left, an I/O error) leaves what was known in force; one that is there and not right
    (unknown version, writable by others) voids its tokens, since nobody can say who wrote it.
    """

    def __init__(self, state_dir: Path, told: Told = lambda _what, _token: None) -> None:
        """*told* hears `created` and `revoked` with the token, from the second reading on."""
        self._state_dir = state_dir
        self._told = told
        self._tokens: dict[str, Sequence[Token]] = {}
        self._stamps: dict[str, Stamp] = {}
        self._complained: dict[str, str] = {}
        self.refresh()

    def find(self, given: str) -> Token | None:
        """The token that *given* is, perhaps an expired one. All are compared, each in constant time."""
        self.refresh()
        wanted = digest(given)
        found = None
        for token in (*self._tokens.get("token", ()), *self._tokens.get(FILE, ())):
            if hmac.compare_digest(token.sha256, wanted):
                found = token
        return found

    def holds(self, token: Token, now: float) -> bool:
        """Whether *token* is still good at *now*. As fresh as the last `refresh`."""
        return not token.is_expired(now) and any(token in tokens for tokens in self._tokens.values())

    def refresh(self) -> None:
        """Take up what has changed on disk."""
        for name, read in (("token", self._read_first), (FILE, self._read_named)):
            stamp = _stamp(self._state_dir / name)
            if name in self._stamps and stamp == self._stamps[name]:
                continue
            try:
                found = read()
            except OSError as error:
                self._complain(name, f"{self._state_dir / name} cannot be read ({error.strerror}): the tokens known so far stay in force")
                continue
            except (IpcError, UnavailableError) as error:
                self._complain(name, f"{error}; until then its tokens are refused")
                found = []
            else:
                self._complained.pop(name, None)
            is_first_time = name not in self._stamps
            self._stamps[name] = stamp
            self._take(name, found, is_first_time=is_first_time)

    def _take(self, name: str, found: Sequence[Token], *, is_first_time: bool) -> None:
        before = self._tokens.get(name, ())
        self._tokens[name] = found
        if is_first_time:
            return
        for what, tokens in (("revoked", set(before) - set(found)), ("created", set(found) - set(before))):
            for token in sorted(tokens, key=lambda token: token.name):
                _LOG.info("token %r (%s) has been %s", token.name, token.role, what)
                self._told(what, token)

    def _read_first(self) -> list[Token]:
        try:
            return [Token(FIRST, "admin", digest(read_token(self._state_dir / "token")), 0.0)]
        except NotFoundError:
            return []
        except UnavailableError as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            raise

    def _read_named(self) -> list[Token]:
        return read_tokens(self._state_dir)

    def _complain(self, name: str, line: str) -> None:
        """Once for each trouble, and not with each call."""
        if self._complained.get(name) != line:
            self._complained[name] = line
            _LOG.error("%s", line)


def _stamp(path: Path) -> Stamp:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
