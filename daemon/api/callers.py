"""Who calls: from the headers of a request to a token of the book. What a caller may do is `access`."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from daemon.access.named_tokens import Role, Token
from daemon.access.token_book import TokenBook
from daemon.api.problems import CHALLENGE, Problem
from daemon.api.rates import Buckets, Rate, neighbourhood, whole_seconds

TOKEN_PROTOCOL = "onetrainerd.token."  # noqa: S105 - a prefix, no token # nosec B105
"""Browsers cannot set headers on a WebSocket: they offer the subprotocols `onetrainerd` and `onetrainerd.token.<token>`."""
_LOG = logging.getLogger(__name__)
_ADDRESSES = 4096
_TOLD = Rate(per_s=0.1, burst=60)
"""Lines of log about refused logins, for all addresses together."""
_IN_URL = ("token", "access_token")
_HOW = (
    'send "Authorization: Bearer <token>", or, on a WebSocket that cannot send headers, offer the subprotocols '
    f'"onetrainerd" and "{TOKEN_PROTOCOL}<token>"'
)


@dataclass(frozen=True, slots=True)
class Caller:
    """*token* None: nobody is asked for one."""

    token: Token | None

    @property
    def name(self) -> str | None:
        return self.token.name if self.token else None

    @property
    def role(self) -> Role:
        return self.token.role if self.token else "admin"


_CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
_REFUSED: web.RequestKey[str] = web.RequestKey("refused login", str)


def caller_of(request: web.Request) -> Caller | None:
    """Who sent *request*; None for one that was refused, or that nobody was asked for."""
    return request.get(_CALLER)


def refused_login_of(request: web.Request) -> str | None:
    """Why the token that *request* bears was refused, as a code; None when it was not, or bears none."""
    return request.get(_REFUSED)


class Door:
    """Lets in who has a token. Wrong ones are counted by address, and beyond *failed_per_minute* answered with 429.

    A right token is let in all the same: behind a proxy all clients have one address, and whoever knows no token must not be able to
    lock out those who do. It loses nothing, since 256 random bits are not found by trying; the limit keeps a client that goes on and
    on with an old token out of the logs.
    """

    def __init__(
        self,
        book: TokenBook | None,
        failed_per_minute: float,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._book = book
        self._failed = Buckets[str](Rate(failed_per_minute / 60, failed_per_minute), _ADDRESSES)
        self._told = Buckets[None](_TOLD, 1)
        self._now = now
        self._wall = wall

    def admit(self, request: web.Request) -> Caller:
        """Raises Problem 401 (codes `no_token`, `token_in_url`, `bad_token`, `token_expired`) or 429 (`rate_limited`)."""
        caller = Caller(None if self._book is None else self._token_of(request, self._book))
        request[_CALLER] = caller
        return caller

    def _token_of(self, request: web.Request, book: TokenBook) -> Token:
        given = _given_token(request)
        if given is None:
            raise _without_token(request)
        token = book.find(given)
        if token is not None and not token.is_expired(self._wall()):
            return token
        wait_s = self._failed.take(neighbourhood(request.remote), self._now())
        if wait_s:
            request[_REFUSED] = "rate_limited"
            raise too_many("too many wrong tokens have come from this address", "rate_limited", wait_s)
        code, message = _refusal(token)
        request[_REFUSED] = code
        if not self._told.take(None, self._now()):
            _LOG.warning("a login from %s is refused: %s", request.remote, code)
        challenge = {"WWW-Authenticate": f'{CHALLENGE["WWW-Authenticate"]}, error="invalid_token"'}
        raise Problem(401, message, {"code": code}, headers=challenge)


def too_many(what: str, code: str, wait_s: float) -> Problem:
    """A 429 that says when to come back."""
    seconds = whole_seconds(wait_s)
    details = {"code": code, "retry_after_s": seconds}
    return Problem(429, f"{what}; try again in {seconds} s", details, headers={"Retry-After": str(seconds)})


def _refusal(token: Token | None) -> tuple[str, str]:
    if token is None:
        return "bad_token", "the token is wrong, or has been revoked; the command `onetrainerd token` prints a right one"
    return "token_expired", f"the token {token.name!r} has expired; `onetrainerd token create` makes a new one"


def _without_token(request: web.Request) -> Problem:
    if any(name.lower() in _IN_URL for name in request.query):
        message = f"a token in a URL is not taken, since URLs stand in logs and histories: {_HOW}. If it was a real one, revoke it"
        return Problem(401, message, {"code": "token_in_url"}, headers=CHALLENGE)
    message = 'a token is needed: send "Authorization: Bearer <token>"; the command `onetrainerd token` prints it'
    return Problem(401, message, {"code": "no_token"}, headers=CHALLENGE)


def _given_token(request: web.Request) -> str | None:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and given.strip():
        return given.strip()
    if request.headers.get("Upgrade", "").lower() == "websocket":
        for protocol in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
            if protocol.strip().startswith(TOKEN_PROTOCOL):
                return protocol.strip().removeprefix(TOKEN_PROTOCOL)
    return None
