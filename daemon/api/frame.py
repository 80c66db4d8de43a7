"""The frame around the routes: an application whose every request is checked for access and whose every error has one form."""

from collections.abc import Sequence

from aiohttp import web

from daemon.api import access, openapi, problems, request_ids
from daemon.api.keys import SETTINGS
from daemon.api.registry import Route, install
from daemon.settings import Settings


def make_app(settings: Settings, token: str | None, routes: Sequence[Route]) -> web.Application:
    """An application with *routes* and `/openapi.json`, and no services yet: see `keys`. *token* None: none is asked for.

    Run it with `server.ApiRunner`.
    """
    middlewares = [request_ids.middleware, problems.middleware, access.guard(settings, token)]
    app = web.Application(middlewares=middlewares, client_max_size=settings.http.max_body_bytes)
    request_ids.install(app)
    app[SETTINGS] = settings
    install(app, (*routes, *openapi.ROUTES))
    return app
