"""`/metrics` and `/ready`: for those who watch the daemon."""

from aiohttp import web

from daemon.api.keys import GPUS, READINESS, TELEMETRY
from daemon.api.models.common import NoBody, NoQuery
from daemon.api.models.operations import Ready
from daemon.api.problems import Problem
from daemon.api.registry import Call, Route
from daemon.api.rendering import HEADERS
from daemon.telemetry.sheet import CONTENT_TYPE


async def metrics(call: Call[NoBody, NoQuery]) -> web.Response:
    await call[GPUS].refresh()
    return web.Response(body=call[TELEMETRY].render(), headers={**HEADERS, "Content-Type": CONTENT_TYPE})


async def ready(call: Call[NoBody, NoQuery]) -> Ready:
    if failed := await call[READINESS].look():
        checks = [{"check": one.check, "message": one.message} for one in failed]
        raise Problem(
            500, f"not ready: {'; '.join(f'{one.check}: {one.message}' for one in failed)}", {"code": "not_ready", "failed": checks}
        )
    return Ready(checks=call[READINESS].CHECKS)


ROUTES = [
    Route("GET", "/metrics", metrics, "Metrics for Prometheus", "operations", role="viewer", media_type="text/plain"),
    Route("GET", "/ready", ready, "Whether the daemon can do its work; 500 `not_ready` if not", "operations", public=True, role="viewer"),
]
