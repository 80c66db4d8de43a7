"""The answers that stay open, WebSockets and logs: how many there may be, and their end when their token is no longer good."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from aiohttp import WSCloseCode, web

from daemon.access.token_book import TokenBook
from daemon.api.callers import Caller, too_many
from daemon.api.stream import cut_off

_LOG = logging.getLogger(__name__)
_LOOK_S = 1.0
_GOODBYE_S = 2.0
_COME_BACK_S = 10.0
_REVOKED = b"the token has been revoked or has expired"


@dataclass(eq=False, slots=True)
class _Stream:
    caller: Caller
    request: web.Request
    response: web.StreamResponse | None = None
    """From the moment when its head is sent."""


_STREAM: web.RequestKey[_Stream] = web.RequestKey("stream", _Stream)


class OpenStreams:
    """Counts by caller and in all; bounded by what it counts."""

    def __init__(self, per_token: int, in_all: int, wall: Callable[[], float] = time.time) -> None:
        self.per_token = per_token
        self.in_all = in_all
        self._wall = wall
        self._open: set[_Stream] = set()

    def __len__(self) -> int:
        return len(self._open)

    @contextlib.contextmanager
    def held(self, request: web.Request, caller: Caller) -> Iterator[None]:
        """While *request* is answered, it counts. Raises Problem 429 (code `too_many_sockets`) when there are as many as may be."""
        if len(self._open) >= self.in_all:
            raise too_many(f"{self.in_all} WebSockets and logs are open, as many as may be", "too_many_sockets", _COME_BACK_S)
        if sum(stream.caller == caller for stream in self._open) >= self.per_token:
            what = f"{self.per_token} WebSockets and logs are open with this token, as many as may be; close one"
            raise too_many(what, "too_many_sockets", _COME_BACK_S)
        stream = request[_STREAM] = _Stream(caller, request)
        self._open.add(stream)
        try:
            yield
        finally:
            self._open.discard(stream)

    async def note_response(self, request: web.Request, response: web.StreamResponse) -> None:
        """For `on_response_prepare`: a WebSocket can be told why it ends."""
        if stream := request.get(_STREAM):
            stream.response = response

    @contextlib.asynccontextmanager
    async def watched(self, book: TokenBook) -> AsyncIterator[None]:
        """Meanwhile, streams whose token is revoked or expires are ended within some seconds."""
        task = asyncio.create_task(self._watch(book), name="watch on tokens of open streams")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _watch(self, book: TokenBook) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self.end_void(book)
            except Exception:  # noqa: BLE001 - the outer edge of the task: it must not end before the daemon does
                _LOG.exception("a fault while looking after the tokens of open streams")

    async def end_void(self, book: TokenBook) -> None:
        """End the streams whose token is no longer good."""
        book.refresh()
        now = self._wall()
        void = [stream for stream in self._open if stream.caller.token and not book.holds(stream.caller.token, now)]
        await asyncio.gather(*(_end(stream) for stream in void))


async def _end(stream: _Stream) -> None:
    _LOG.info("what %r has open from %s is closed: its token is no longer good", stream.caller.name, stream.request.remote)
    if isinstance(stream.response, web.WebSocketResponse):
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_GOODBYE_S):
                await stream.response.close(code=WSCloseCode.POLICY_VIOLATION, message=_REVOKED)
                return
    cut_off(stream.request)
