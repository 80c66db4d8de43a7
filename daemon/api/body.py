"""Read a request's JSON body: bounded in size and time, strict in form."""

import asyncio
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from daemon.api.problems import Problem
from daemon.errors import InvalidError
from daemon.jsontext import parse_object

READ_S = 30.0
"""For the whole body. A client that stalls gets a 400 (the API has no 408) and the connection is closed."""
PARSE_IN_THREAD_BYTES = 64 << 10


async def read_object(request: web.Request, limit: int, read_s: float = READ_S) -> dict[str, Any]:
    """The JSON object in the body of *request*; {} when the body is empty, whatever its type.

    Raises:
        Problem: 413 for more than *limit* bytes (after decompression), 415 for another type than application/json in UTF-8,
            400 for a body that does not come.
        InvalidError: it is not a JSON object.
        ConnectionError: the client has gone.
    """
    check_type(request)
    if not has_body(request):
        return {}
    _check_headers(request, limit)
    try:
        async with asyncio.timeout(read_s):
            await _continue(request)
            data = await _read(request, limit)
    except TimeoutError as error:
        raise Problem(400, f"the body did not come within {read_s:g} s", {"code": "body_timeout"}, closes=True) from error
    except (web.RequestPayloadError, HttpProcessingError, ValueError) as error:
        raise Problem(400, f"the body cannot be read: {error}"[:300], {"code": "bad_body"}, closes=True) from error
    if not data:
        return {}
    if len(data) <= PARSE_IN_THREAD_BYTES:
        return parse_object(data, "the body")
    return await asyncio.to_thread(parse_object, data, "the body")


def has_body(request: web.Request) -> bool:
    """Whether a body is on its way. `curl -d ''` says a type and sends none."""
    return request.body_exists and request.content_length != 0


def check_type(request: web.Request) -> None:
    """Raises Problem 415 for a body that is not application/json in UTF-8, also where none is read: an HTML form can send any other
    to another origin without asking."""
    if not has_body(request):
        return
    if request.content_type != "application/json":
        given = repr(request.headers.get("Content-Type", "")[:100]) if "Content-Type" in request.headers else "none"
        raise Problem(415, f"the Content-Type is {given}; send application/json", {"code": "unsupported_media_type"}, closes=True)
    charset = request.charset or "utf-8"
    if charset.lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise Problem(415, f"the charset is {charset[:40]!r}; JSON is UTF-8", {"code": "unsupported_media_type"}, closes=True)


def _check_headers(request: web.Request, limit: int) -> None:
    if request.content_length is not None and request.content_length > limit:
        raise too_large(limit)
    if (expect := request.headers.get("Expect")) and expect.lower() != "100-continue":
        raise InvalidError(f"Expect: {expect[:40]!r} is not known; only 100-continue is", code="bad_expect")


async def _continue(request: web.Request) -> None:
    """Answer `Expect: 100-continue` only now: a client without access, or with too much, need not send its body."""
    if request.headers.get("Expect"):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # aiohttp's own handler does this too: the answer itself has not begun


async def _read(request: web.Request, limit: int) -> bytes:
    data = bytearray()
    while chunk := await request.content.readany():
        data += chunk
        if len(data) > limit:
            raise too_large(limit)
    return bytes(data)


def too_large(limit: int) -> Problem:
    message = f"the body is larger than {limit} bytes; http.max_body_bytes in the settings allows more"
    return Problem(413, message, {"code": "payload_too_large", "limit": limit}, closes=True)
