"""The frame around the routes: an application whose every request is checked for access and whose every error has one form."""

from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from daemon.access.audit_log import AuditLog
from daemon.access.token_book import TokenBook
from daemon.api import access, audit, observing, openapi, problems, request_ids
from daemon.api.keys import METER, SETTINGS
from daemon.api.registry import Route, install
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from daemon.telemetry.requests import RequestMeter


def make_app(settings: Settings, book: TokenBook | None, routes: Sequence[Route], audited: AuditLog | None = None) -> web.Application:
    """An application with *routes* and `/openapi.json`, and no services yet: see `keys`. *book* None: no token is asked for. *audited*
    None: nobody notes who changes what.

    Run it with `server.ApiRunner`.
    """
    in_force = InForce(settings)
    meter = RequestMeter()
    observed = observing.observer(meter, lambda: in_force.now.log.requests)
    rules = access.Access(in_force, book)
    noted = [audit.auditor(audited)] if audited else []
    middlewares = [request_ids.middleware, *noted, observed, problems.middleware, access.guard(rules)]
    app = web.Application(middlewares=middlewares, client_max_size=settings.http.max_body_bytes)
    request_ids.install(app)
    app.on_response_prepare.append(rules.mark)
    app.cleanup_ctx.append(_watch_streams)
    app[access.ACCESS] = rules
    app[SETTINGS] = in_force
    app[METER] = meter
    install(app, (*routes, *openapi.ROUTES))
    return app


async def _watch_streams(app: web.Application) -> AsyncIterator[None]:
    rules = app[access.ACCESS]
    if rules.book is None:
        yield
        return
    async with rules.streams.watched(rules.book):
        yield
