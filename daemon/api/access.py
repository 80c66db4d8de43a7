"""Who may call what: a request's Host and Origin, then its token, its pace and its role, then how much it has open.

The order matters: a foreign page learns nothing of tokens, and a stranger nothing of what is there.
"""

import time
from collections.abc import Callable
from functools import partial

from aiohttp import web
from aiohttp.typedefs import Middleware

from daemon.access.named_tokens import MOST
from daemon.access.token_book import TokenBook
from daemon.api import cors
from daemon.api.callers import Caller, Door, too_many
from daemon.api.hosts import HostRules
from daemon.api.open_streams import OpenStreams
from daemon.api.problems import Handler
from daemon.api.rates import Buckets, Rate
from daemon.api.registry import Route, route_of
from daemon.errors import ForbiddenError
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings


class Access:
    """The rules in force."""

    def __init__(self, in_force: InForce, book: TokenBook | None, now: Callable[[], float] = time.monotonic) -> None:
        """*book* None: everybody is an admin."""
        self.book = book
        self._now = now
        self.streams = OpenStreams(in_force.now.limits.streams_per_token, in_force.now.limits.streams)
        self._follow(in_force.now)
        in_force.on_change(lambda to_come: partial(self._follow, to_come))

    def _follow(self, settings: Settings) -> None:
        """Take the rules of *settings*, for the requests from now on. What was counted so far is forgotten."""
        limits = settings.limits
        self.rules = HostRules(settings.host, settings.http.allowed_hosts, settings.http.allowed_origins)
        self.door = Door(self.book, limits.failed_logins_per_minute, self._now)
        self._pace = Buckets[Caller](Rate(limits.calls_per_s, limits.calls_burst), MOST + 1)
        self.streams.per_token, self.streams.in_all = limits.streams_per_token, limits.streams

    def check_pace(self, caller: Caller) -> None:
        """Raises Problem 429 (code `rate_limited`)."""
        if wait_s := self._pace.take(caller, self._now()):
            raise too_many("too many calls have come with this token; limits.calls_per_s allows more", "rate_limited", wait_s)

    async def mark(self, request: web.Request, response: web.StreamResponse) -> None:
        """For `on_response_prepare`."""
        response.headers["Server"] = "onetrainerd"  # aiohttp would tell strangers its version and Python's
        cors.mark(request, response, self.rules)
        await self.streams.note_response(request, response)


ACCESS: web.AppKey[Access] = web.AppKey("access", Access)


def guard(access: Access) -> Middleware:
    """The middleware that lets through what may pass."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        access.rules.check_host(request)
        access.rules.check_origin(request)
        if cors.is_preflight(request, access.rules):
            return cors.preflight_answer()
        route = route_of(request)
        if route and route.public:
            return await handler(request)
        caller = access.door.admit(request)
        access.check_pace(caller)
        check_role(caller, route)
        if route is None or not route.is_stream:
            return await handler(request)
        with access.streams.held(request, caller):
            return await handler(request)

    return middleware


def check_role(caller: Caller, route: Route | None) -> None:
    """Raises ForbiddenError (code `role`) when *route* is not for the role of *caller*."""
    if route and route.role == "admin" and caller.role != "admin":
        raise ForbiddenError(
            f"{route.method} {route.path} is for admins, and {caller.name!r} is the token of a {caller.role}, which reads; "
            "`onetrainerd token create --role admin` makes one that may",
            code="role", role=caller.role, needed=route.role,
        )  # fmt: skip
