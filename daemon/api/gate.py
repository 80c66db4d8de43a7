"""Requests wait until the daemon knows its runs: after a restart long histories are read first, and half a truth is no answer."""

from aiohttp import web
from aiohttp.typedefs import Middleware

from daemon.api.problems import Handler
from daemon.api.registry import route_of
from daemon.supervisor.supervisor import Supervisor


def gate(supervisor: Supervisor) -> Middleware:
    """The middleware. Public routes do not wait: they say whether the daemon is alive."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = route_of(request)
        if route is not None and not route.public:
            await supervisor.wait_adopted()
        return await handler(request)

    return middleware
