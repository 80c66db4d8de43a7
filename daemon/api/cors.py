"""Pages of other origins (https://fetch.spec.whatwg.org/#http-cors-protocol): off, unless `http.allowed_origins` names theirs.

Credentials are never allowed: the daemon knows no cookies, and a page sends its token as a header. `*` is never answered.
"""

from aiohttp import hdrs, web

from daemon.api.hosts import HostRules

_PREFLIGHT = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, HEAD, POST, PUT, DELETE",
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Authorization, Content-Type, Idempotency-Key, X-Request-Id, Range, If-None-Match",
    hdrs.ACCESS_CONTROL_MAX_AGE: "600",
    "Cache-Control": "no-store",
}
_READABLE = "X-Request-Id, Retry-After, Idempotency-Replayed, ETag, Content-Range, Content-Disposition, WWW-Authenticate"


def is_preflight(request: web.Request, rules: HostRules) -> bool:
    """Whether a browser asks on behalf of a page that may call. It sends no token with that, whatever the page has."""
    return (
        request.method == "OPTIONS"
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        and rules.allows_origin(request.headers.get(hdrs.ORIGIN, ""))
    )


def preflight_answer() -> web.Response:
    """The same for every path, so that it tells a stranger nothing of what there is."""
    return web.Response(status=204, headers=_PREFLIGHT)


def mark(request: web.Request, response: web.StreamResponse, rules: HostRules) -> None:
    """Let the page that called read *response*, an error too. Caches are told that the answer depends on the page."""
    if not rules.has_origins:
        return
    varies = response.headers.get(hdrs.VARY)
    response.headers[hdrs.VARY] = f"{varies}, Origin" if varies else "Origin"
    origins = request.headers.getall(hdrs.ORIGIN, [])
    if len(origins) == 1 and rules.allows_origin(origins[0]):
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origins[0]
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _READABLE
