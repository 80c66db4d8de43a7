"""The Host and the Origin of a request: which it may name.

Host: a page of an attacker whose name is rebound to 127.0.0.1 sends its own name (DNS rebinding). Origin: a browser says which
page sends a request; a page of another origin is refused, also on the WebSocket, where browsers have no other protection.
"""

import ipaddress
import re
from collections.abc import Iterable

from aiohttp import web

from daemon.errors import ForbiddenError
from daemon.settings.fields import is_loopback

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^:\[\]/@\s]+)(:(?P<port>\d{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class HostRules:
    """The hosts that requests may name, and the origins that pages may come from."""

    def __init__(self, bind_host: str, allowed_hosts: Iterable[str] = (), allowed_origins: Iterable[str] = ()) -> None:
        self._hosts = {bind_host.lower(), *(host.lower() for host in allowed_hosts)}
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
        if len(given) == 1 and (self.allows_origin(given[0]) or _is_same(given[0].lower(), request.headers["Host"].lower())):
            return
        raise ForbiddenError(
            f"the page at {given[0][:200]!r} may not call this daemon; add its origin to http.allowed_origins in the settings",
            code="origin",
        )

    def allows_origin(self, origin: str) -> bool:
        """Whether pages of *origin* may call from elsewhere: it is one of `http.allowed_origins`."""
        return origin.lower() in self._origins

    @property
    def has_origins(self) -> bool:
        return bool(self._origins)


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
