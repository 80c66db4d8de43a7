"""Who may call: the Host and Origin of a request, then its token.

Host: a page of an attacker whose name is rebound to 127.0.0.1 sends its own name (DNS rebinding). Origin: a browser says which
page sends a request; a page of another origin is refused, also on the WebSocket, where browsers have no other protection.
"""

import hmac
import ipaddress
import re
from collections.abc import Iterable
from functools import partial

from aiohttp import web
from aiohttp.typedefs import Middleware

from daemon.api.problems import CHALLENGE, Handler, Problem
from daemon.api.registry import route_of
from daemon.errors import ForbiddenError
from daemon.in_force import InForce
from daemon.settings import is_loopback

TOKEN_PROTOCOL = "onetrainerd.token."  # noqa: S105 - a prefix, no token
"""Browsers cannot set headers on a WebSocket: they offer the subprotocols `onetrainerd` and `onetrainerd.token.<token>`."""
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^:\[\]/@\s]+)(:(?P<port>\d{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class HostRules:
    """The hosts that requests may name, and the origins that pages may come from."""

    def __init__(self, bind_host: str, allowed_hosts: Iterable[str] = (), allowed_origins: Iterable[str] = ()) -> None:
        self._bind_host = bind_host.lower()
        self.change(allowed_hosts, allowed_origins)

    def change(self, allowed_hosts: Iterable[str], allowed_origins: Iterable[str]) -> None:
        """For the requests from now on."""
        self._hosts = {self._bind_host, *(host.lower() for host in allowed_hosts)}
        self._origins = {origin.lower() for origin in allowed_origins}

    def check_host(self, request: web.Request) -> None:
        """Raises ForbiddenError (code `host`) unless the Host header is there once and names a loopback host, the host that the daemon
        listens on, the address that the connection came to, or one of `http.allowed_hosts`."""
        given = request.headers.getall("Host", [])
        match = _HOST.fullmatch(given[0]) if len(given) == 1 else None
        if match is None:
            raise ForbiddenError("the request must have one Host header that names a host", code="host")
        name = match["name"].strip("[]").lower()
        if is_loopback(name) or self._hosts & {name, match[0].lower(), match["name"].lower()} or name == _local_address(request):
            return
        raise ForbiddenError(
            f"the Host {given[0][:200]!r} is not one that this daemon answers to; add it to http.allowed_hosts in the settings", code="host"
        )

    def check_origin(self, request: web.Request) -> None:
        """Raises ForbiddenError (code `origin`) when there is an Origin that is neither the Host of the request nor allowed.
        `check_host` has passed."""
        given = request.headers.getall("Origin", [])
        if not given:
            return
        origin = given[0].lower()
        if len(given) == 1 and (origin in self._origins or _is_same(origin, request.headers["Host"].lower())):
            return
        raise ForbiddenError(
            f"the page at {given[0][:200]!r} may not call this daemon; add its origin to http.allowed_origins in the settings",
            code="origin",
        )


def guard(in_force: InForce, token: str | None) -> Middleware:
    """The middleware; *token* None: none is asked for."""
    http = in_force.now.http
    rules = HostRules(in_force.now.host, http.allowed_hosts, http.allowed_origins)
    in_force.on_change(lambda to_come: partial(rules.change, to_come.http.allowed_hosts, to_come.http.allowed_origins))

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        rules.check_host(request)
        rules.check_origin(request)
        route = route_of(request)
        if token is not None and not (route and route.public):
            check_token(request, token)
        return await handler(request)

    return middleware


def check_token(request: web.Request, token: str) -> None:
    """Raises Problem 401 unless *request* bears *token*."""
    given = _given_token(request)
    if given is None:
        message = 'a token is needed: send "Authorization: Bearer <token>"; the command `onetrainerd token` prints it'
        raise Problem(401, message, {"code": "no_token"}, headers=CHALLENGE)
    if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode()):
        challenge = {"WWW-Authenticate": f'{CHALLENGE["WWW-Authenticate"]}, error="invalid_token"'}
        raise Problem(
            401, "the token is wrong; the command `onetrainerd token` prints the right one", {"code": "bad_token"}, headers=challenge
        )


def _given_token(request: web.Request) -> str | None:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and given.strip():
        return given.strip()
    if request.headers.get("Upgrade", "").lower() == "websocket":
        for protocol in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
            if protocol.strip().startswith(TOKEN_PROTOCOL):
                return protocol.strip().removeprefix(TOKEN_PROTOCOL)
    return None


def _local_address(request: web.Request) -> str | None:
    """Where the connection came to, for a daemon that listens on 0.0.0.0: an address, unlike a name, cannot be rebound."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    try:
        address = ipaddress.ip_address(name[0].partition("%")[0]) if isinstance(name, tuple) else None
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address) if address else None


def _is_same(origin: str, host: str) -> bool:
    """Whether *origin* is that of a page from *host*. A proxy in front may have ended TLS, so both schemes count."""
    scheme, separator, place = origin.partition("://")
    if not separator or scheme not in _DEFAULT_PORTS:
        return False
    wanted, given = _HOST.fullmatch(host), _HOST.fullmatch(place)
    if not wanted or not given:
        return False
    port = _DEFAULT_PORTS[scheme]
    return wanted["name"] == given["name"] and (wanted["port"] or port) == (given["port"] or port)
