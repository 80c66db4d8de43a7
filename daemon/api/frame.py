"""The frame around the routes: an application whose every request is checked for access and whose every error has one form."""

from collections.abc import Sequence

from aiohttp import web

from daemon.api import access, openapi, problems
from daemon.api.keys import SETTINGS
from daemon.api.registry import Route, install
from daemon.settings import Settings


def make_app(settings: Settings, token: str | None, routes: Sequence[Route]) -> web.Application:
    """An application with *routes* and `/openapi.json`, and no services yet: see `keys`. *token* None: none is asked for.

    Run it with `server.ApiRunner`.
    """
    app = web.Application(middlewares=[problems.middleware, access.guard(settings, token)], client_max_size=settings.http.max_body_bytes)
    app[SETTINGS] = settings
    install(app, (*routes, *openapi.ROUTES))
    return app
