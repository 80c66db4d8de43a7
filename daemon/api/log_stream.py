"""Send a console as text, and go on while it grows. A client that does not read is cut off; one that leaves is noticed."""

import asyncio
import contextlib
import logging

from aiohttp import web

from daemon.api.stream import cut_off
from daemon.supervisor.console_feed import ConsoleFeed
from daemon.supervisor.hub import Bell

_LOG = logging.getLogger(__name__)
_SEND_S = 10.0
_LOOK_S = 1.0
_REST_LOOK_S = 15.0
_PACE_S = 0.1
"""Steps may ring the bell a thousand times a second; nobody reads that fast."""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold the lines back
}


class LogStream(web.StreamResponse):
    """text/plain, chunked; complete exactly when its last chunk says so."""


class LogStreams:
    """The open streams, so that a shutdown can cut them: ending them would tell their clients that the runs have ended."""

    def __init__(self) -> None:
        self._is_leaving = False
        self._open = 0

    def __len__(self) -> int:
        return self._open

    async def serve(self, request: web.Request, feed: ConsoleFeed, bell: Bell) -> LogStream:
        """Send what *feed* gives, to its end. Raises ConnectionError when the client has gone, is cut off, or the daemon leaves."""
        with contextlib.closing(feed):
            response = LogStream(headers=_HEADERS)
            response.content_type, response.charset = "text/plain", "utf-8"
            await response.prepare(request)
            if request.method != "HEAD":
                self._open += 1
                try:
                    await self._send_all(request, response, feed, bell)
                finally:
                    self._open -= 1
            await response.write_eof()
            return response

    def close_all(self, bell: Bell) -> None:
        self._is_leaving = True
        bell.ring()

    async def _send_all(self, request: web.Request, response: LogStream, feed: ConsoleFeed, bell: Bell) -> None:
        turn = bell.turn
        while (piece := await feed.next()) is not None:
            if piece:
                await _send(request, response, piece)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S if feed.is_growing else _REST_LOOK_S):
                    await turn.wait()
            if self._is_leaving and request.transport is not None:
                request.transport.close()
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the client has gone, or we go")
            await asyncio.sleep(_PACE_S)
            turn = bell.turn


async def _send(request: web.Request, response: LogStream, piece: bytes) -> None:
    try:
        async with asyncio.timeout(_SEND_S):
            await response.write(piece)
    except TimeoutError as error:
        _LOG.warning("the reader of a log at %s has not read for %g s and is cut off", request.remote, _SEND_S)
        cut_off(request)
        raise ConnectionResetError("cut off") from error
