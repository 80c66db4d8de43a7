"""The frame around the routes: an application whose every request is checked for access and whose every error has one form."""

from collections.abc import Sequence

from aiohttp import web

from daemon.api import access, observing, openapi, problems, request_ids
from daemon.api.keys import METER, SETTINGS
from daemon.api.registry import Route, install
from daemon.in_force import InForce
from daemon.settings import Settings
from daemon.telemetry.requests import RequestMeter


def make_app(settings: Settings, token: str | None, routes: Sequence[Route]) -> web.Application:
    """An application with *routes* and `/openapi.json`, and no services yet: see `keys`. *token* None: none is asked for.

    Run it with `server.ApiRunner`.
    """
    in_force = InForce(settings)
    meter = RequestMeter()
    observed = observing.observer(meter, lambda: in_force.now.log.requests)
    middlewares = [request_ids.middleware, observed, problems.middleware, access.guard(in_force, token)]
    app = web.Application(middlewares=middlewares, client_max_size=settings.http.max_body_bytes)
    request_ids.install(app)
    app[SETTINGS] = in_force
    app[METER] = meter
    install(app, (*routes, *openapi.ROUTES))
    return app
