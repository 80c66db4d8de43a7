"""Errors on the wire: the one place that knows which error has which status, and the middleware that renders them all.

`{"error": "<Type>", "message": "…", "details": {"code": "…", …}}`. What goes wrong on our own side is a 500 whose `details.id`
stands in the log beside the traceback; the client never sees one.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from aiohttp import web

from daemon.api.rendering import json_response
from daemon.errors import (
    ConflictError,
    DaemonError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedError,
)

log = logging.getLogger(__name__)

TYPES: Mapping[int, str] = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    413: "PayloadTooLarge",
    415: "UnsupportedMediaType",
    429: "TooManyRequests",
    500: "InternalError",
    501: "NotImplemented",
}
STATUSES: tuple[tuple[type[DaemonError], int], ...] = (
    (InvalidError, 400),
    (UnauthorizedError, 401),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (UnsupportedError, 501),
    (UnavailableError, 500),  # the API has no 503; details.code tells it from a fault of ours
)
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="onetrainerd"'}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """An answer that is an error, for what only HTTP knows of. *closes*: the connection is not used again."""

    def __init__(
        self,
        status: int,
        message: str,
        details: Mapping[str, object],
        *,
        headers: Mapping[str, str] | None = None,
        closes: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details
        self.headers = headers or {}
        self.closes = closes

    def response(self) -> web.Response:
        body = {"error": TYPES[self.status], "message": self.message, "details": self.details}
        response = json_response(body, self.status, self.headers)
        if self.closes:
            response.force_close()
        return response


def status_of(kind: type[DaemonError]) -> int:
    """The status of errors of that class; 500 for one that is not in the table."""
    return next((status for known, status in STATUSES if issubclass(kind, known)), 500)


def of_daemon_error(error: DaemonError) -> Problem:
    status = status_of(type(error))
    return Problem(status, error.message, {"code": error.code, **error.details}, headers=CHALLENGE if status == 401 else None)


def of_fault(error: BaseException, what: str) -> Problem:
    """A fault of ours while *what*: logged here with its traceback, under an id that the client gets."""
    identifier = secrets.token_hex(6)
    log.error("fault %s while %s", identifier, what, exc_info=error)
    message = f"the daemon made a mistake, which is in its log under {identifier}; please report it with that part of the log"
    return Problem(500, message, {"code": "internal", "id": identifier})


def of_http_exception(error: web.HTTPException, request: web.Request) -> Problem:
    """aiohttp's own answers, the router's above all. A status that the API does not have becomes 400 or 500."""
    path = request.rel_url.raw_path
    match error:
        case web.HTTPNotFound():
            return Problem(404, f"there is nothing at {path[:200]}; GET /openapi.json lists what there is", {"code": "no_route"})
        case web.HTTPMethodNotAllowed():
            allowed = sorted(_methods_at(request) or error.allowed_methods)
            message = f"{error.method} is not possible at {path[:200]}; allowed: {', '.join(allowed)}"
            return Problem(405, message, {"code": "method_not_allowed", "allowed": allowed}, headers={"Allow": ", ".join(allowed)})
        case _:
            status = error.status if error.status in TYPES else 400 if error.status < 500 else 500
            text = (error.text or error.reason).removeprefix(f"{error.status}: ")
            return Problem(status, text, {"code": HTTPStatus(error.status).name.lower()})


def _methods_at(request: web.Request) -> set[str]:
    """What can be done at exactly this path. aiohttp adds what `/samples/{sample_id}` takes to what `/samples/generate` does."""
    exact = (resource for resource in request.app.router.resources() if resource.canonical == request.path)
    return {route.method for resource in exact for route in resource}


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outermost: every error of what is inside becomes a response."""
    try:
        return await handler(request)
    except asyncio.CancelledError:
        raise
    except Exception as error:  # the outer edge of a request: what is not foreseen is logged with its traceback
        if isinstance(error, web.HTTPException) and error.status < 400:
            raise
        if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
            return Problem(400, "the client has gone", {"code": "client_gone"}).response()  # nobody reads it, and nothing is logged
        problem = _problem_of(error, request)
        if request.writer.output_size > 0:
            # The answer has begun: a second one would be taken for its rest. Closing is what tells the client.
            raise ConnectionResetError("failed in the middle of the answer") from error
        return problem.response()


def _problem_of(error: Exception, request: web.Request) -> Problem:
    match error:
        case Problem():
            return error
        case DaemonError():
            if isinstance(error, UnavailableError):
                log.warning("%s %s: %s", request.method, request.rel_url.raw_path, error.message)
            return of_daemon_error(error)
        case web.HTTPException():
            return of_http_exception(error, request)
        case _:
            return of_fault(error, f"answering {request.method} {request.rel_url.raw_path}")
