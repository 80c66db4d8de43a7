"""An id for each request: the client's own, where it sends a well-formed one, else a new one. It is answered as `X-Request-Id`.

Whoever writes a line of log on behalf of a request finds it in `current_request_id()`, also in a thread of `asyncio.to_thread` and in
a task that the request has begun.
"""

import contextvars
import re
import secrets

from aiohttp import web

from daemon.api.problems import Handler

HEADER = "X-Request-Id"
_WELL_FORMED = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")
"""UUIDs, ULIDs, nginx's $request_id, base64. Nothing that could break a line of log, or be taken for a part of its form."""
_CURRENT: contextvars.ContextVar[str | None] = contextvars.ContextVar("request_id", default=None)
_OF_REQUEST: web.RequestKey[str] = web.RequestKey("request_id", str)


def current_request_id() -> str | None:
    """The id of the request that is being answered here; None outside of any."""
    return _CURRENT.get()


def request_id_of(request: web.Request) -> str | None:
    """The id of *request*, once `middleware` has chosen it."""
    return request.get(_OF_REQUEST)


def install(app: web.Application) -> None:
    """Have every answer of *app* bear its id, streams, files and WebSockets included. `middleware` is the outermost one of *app*."""
    app.on_response_prepare.append(_answer_id)


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Choose the id."""
    given = request.headers.getall(HEADER, [])
    chosen = given[0] if len(given) == 1 and _WELL_FORMED.fullmatch(given[0]) else secrets.token_hex(16)
    request[_OF_REQUEST] = chosen
    token = _CURRENT.set(chosen)  # aiohttp answers all requests of a connection in one task: the next one must not inherit it
    try:
        return await handler(request)
    finally:
        _CURRENT.reset(token)


async def _answer_id(request: web.Request, response: web.StreamResponse) -> None:
    if chosen := request.get(_OF_REQUEST):
        response.headers[HEADER] = chosen
