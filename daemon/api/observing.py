"""Each request counted and logged: which route, which status, how long. Never its query or its headers: prompts stay out,
and of a token all but its name."""

import logging
import time
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from daemon.api.callers import caller_of
from daemon.api.problems import Handler
from daemon.api.registry import route_of
from daemon.telemetry.requests import NO_ROUTE, RequestMeter

_LOG = logging.getLogger(__name__)
_LEVELS = {"off": logging.NOTSET, "debug": logging.DEBUG, "info": logging.INFO}


def observer(meter: RequestMeter, level: Callable[[], str]) -> Middleware:
    """The middleware; it stands outside of the one that renders errors. *level* is `log.requests` of the settings in force."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = time.perf_counter()
        status, is_whole = "aborted", False
        try:
            response = await handler(request)
            status, is_whole = str(response.status), isinstance(response, web.Response | web.FileResponse)
            return response
        except web.HTTPException as answer:  # a redirection, which aiohttp has as an exception
            status = str(answer.status)
            raise
        finally:
            seconds = time.perf_counter() - begun
            route = route_of(request)
            template = route.path if route else NO_ROUTE
            meter.observe(request.method, template, status, seconds if is_whole else None)
            if number := _LEVELS[level()]:
                _tell(number, request, template, status, seconds)

    return middleware


def _tell(level: int, request: web.Request, template: str, status: str, seconds: float) -> None:
    if not _LOG.isEnabledFor(level):
        return
    fields: dict[str, object] = {
        "method": request.method, "route": template, "status": int(status) if status.isdecimal() else status,
        "seconds": round(seconds, 6), "remote": request.remote,
    }  # fmt: skip
    if run_id := request.match_info.get("run_id"):
        fields["run_id"] = run_id[:64]
    caller = caller_of(request)
    if caller and caller.name:
        fields["token"] = caller.name  # so that the log tells when an old token is no longer used
    who = f"{request.remote} ({caller.name})" if caller and caller.name else request.remote
    path = request.rel_url.raw_path[:200]
    _LOG.log(level, "%s %s: %s in %.1f ms, for %s", request.method, path, status, seconds * 1000, who, extra={"fields": fields})
