"""aiohttp's server with our errors for what is wrong before there is a request: a malformed line, a header that is too long, a
client that connects and says nothing, or too many of them."""

import asyncio
import logging
import socket
import ssl
from typing import Any

from aiohttp import web

from daemon.api.problems import Problem, of_fault

_LOG = logging.getLogger(__name__)
_TOLD_EVERY_S = 60.0
_LINE_BYTES = 64 << 10
"""Of a request's first line: a query parameter may have 4096 characters, of which each may be 12 bytes there (%F0%9F%8E%A8)."""


class ApiRunner(web.AppRunner):
    """`web.AppRunner` whose connections answer in the form of `problems`, and whose strangers cannot use up what connections need.

    aiohttp has no public hook for its low-level 400s; this replaces the factory of connections, and a test sees when it stops working.
    """

    def __init__(
        self, app: web.Application, *, head_s: float = 10.0, keepalive_s: float = 75.0, max_connections: int = 512, **options: Any
    ) -> None:
        """A connection is closed when the head of its first request is not there within *head_s*, or that of a further one within
        *keepalive_s*; beyond *max_connections* a new one is closed at once. *options* are `web.AppRunner`'s."""
        super().__init__(app, keepalive_timeout=keepalive_s, **{"max_line_size": _LINE_BYTES, **options})
        self._head_s = head_s
        self._max_connections = max_connections

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made, self._head_s, self._max_connections)


class ApiSite(web.SockSite):
    """`web.SockSite` with little patience for a TLS handshake: a connection counts nowhere until it is done, and asyncio waits a minute."""

    def __init__(self, runner: ApiRunner, sock: socket.socket, tls: ssl.SSLContext | None, handshake_s: float = 10.0) -> None:
        super().__init__(runner, sock, ssl_context=tls)
        self._handshake_s = handshake_s if tls else None

    async def start(self) -> None:
        await web.BaseSite.start(self)
        assert self._runner.server is not None
        self._server = await asyncio.get_running_loop().create_server(
            self._runner.server, sock=self._sock, ssl=self._ssl_context, backlog=self._backlog,
            ssl_handshake_timeout=self._handshake_s, ssl_shutdown_timeout=self._handshake_s,
        )  # fmt: skip


class _Server(web.Server):
    def __init__(self, made: web.Server, head_s: float, max_connections: int) -> None:
        super().__init__(made.request_handler, request_factory=made.request_factory, loop=made._loop, **made._kwargs)
        self.head_s = head_s
        self._max_connections = max_connections
        self._told = float("-inf")

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)

    def has_room(self) -> bool:
        """Whether one more connection may stay; a refusal is told in the log, once a minute."""
        if len(self._connections) < self._max_connections:
            return True
        if self._loop.time() - self._told >= _TOLD_EVERY_S:
            self._told = self._loop.time()
            _LOG.warning("%d connections are open, as many as may be; new ones are closed at once", self._max_connections)
        return False


class _Connection(web.RequestHandler):
    __slots__ = ("_head_timer", "_server")

    def __init__(self, server: _Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._server.has_room():
            self._force_close = True  # whatever comes until then is not looked at
            transport.close()
            return
        super().connection_made(transport)
        # aiohttp alone would wait an hour for the first byte.
        self._head_timer = self._loop.call_later(self._server.head_s, self.force_close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._request_count:
            self._stop_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def log_exception(self, *args: Any, **options: Any) -> None:
        """A body that cannot be unpacked is the client's fault, and was a 400: reading on to its end, aiohttp meets it once more."""
        if not isinstance(options.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **options)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """aiohttp calls it for what its parser refuses, and for faults outside the middlewares. The connection is closed after it."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun, so that it cannot be replaced by an error")
        if status < 500:
            text = (message or "").strip().partition("\n")[0].rstrip(":")[:200]
            return Problem(400, f"this is not a valid HTTP request: {text}", {"code": "bad_http"}, closes=True).response()
        response = of_fault(exc or RuntimeError(message), "handling a connection").response()
        response.force_close()
        return response
