"""What stands in the audit log: each call that may change something, and each login that is refused. Never a token, a query or a body."""

import time
from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Middleware

from daemon.access.audit_log import AuditLog
from daemon.api.callers import caller_of, refused_login_of
from daemon.api.problems import Handler
from daemon.api.rates import Buckets, Rate
from daemon.api.registry import concerned_run, route_of
from daemon.api.request_ids import request_id_of

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_STRANGERS = Rate(per_s=0.1, burst=60)
_LONGEST = 200


def auditor(log: AuditLog) -> Middleware:
    """The middleware; it stands outside of the one that renders errors.

    Lines about callers without a token are few: sixty, and then six a minute for all of them together. A stranger could otherwise push
    out of the files what counts. What `limits.failed_logins_per_minute` refuses has none. The next line says how many were `withheld`.
    """
    strangers = Buckets[None](_STRANGERS, 1)
    withheld = 0

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal withheld
        begun = time.monotonic()
        status: int | None = None
        try:
            response = await handler(request)
            status = response.status
            return response
        except web.HTTPException as answer:
            status = answer.status
            raise
        finally:
            refused = refused_login_of(request)
            if refused or request.method not in _READING:
                now = time.monotonic()
                if refused == "rate_limited" or (caller_of(request) is None and strangers.take(None, now)):
                    withheld += 1
                else:
                    record = _record(request, status, now - begun)
                    if refused:
                        record["code"] = refused
                    if caller_of(request) is None and withheld:
                        record["withheld"], withheld = withheld, 0
                    log.put("login.refused" if refused else "call", record)

    return middleware


def _record(request: web.Request, status: int | None, seconds: float) -> dict[str, object]:
    caller = caller_of(request)
    route = route_of(request)
    record: dict[str, object] = {
        "request_id": request_id_of(request),
        "token": caller.name if caller else None,
        "role": caller.role if caller else None,
        "remote": request.remote,
        "method": request.method[:20],
        "path": route.path if route else request.rel_url.raw_path[:_LONGEST],
        "params": _short(request.match_info),
        "status": status,
        "ms": round(seconds * 1000, 1),
    }
    if run_id := concerned_run(request):
        record["run_id"] = run_id[:_LONGEST]
    return record


def _short(params: Mapping[str, str]) -> dict[str, str]:
    return {name: value[:_LONGEST] for name, value in params.items()}
