"""`/ws`: a WebSocket's life. Each client has its own writer; one that does not read costs nobody else anything and is cut off."""

import asyncio
import contextlib
import logging
import struct
from socket import SO_LINGER, SOL_SOCKET

from aiohttp import WSCloseCode, WSMsgType, web

from daemon.api.feed import Feed
from daemon.errors import InvalidError
from daemon.supervisor.hub import Bell

_LOG = logging.getLogger(__name__)
_SEND_S = 10.0
_HEARTBEAT_S = 20.0
_MAX_MESSAGE_BYTES = 64 << 10
PONG = b'{"type":"pong"}'
SUBPROTOCOL = "onetrainerd"


class Sockets:
    """The open WebSockets, so that a shutdown can say goodbye to them."""

    def __init__(self) -> None:
        self._open: set[web.WebSocketResponse] = set()

    def __len__(self) -> int:
        return len(self._open)

    async def serve(self, request: web.Request, feed: Feed, bell: Bell) -> web.WebSocketResponse:
        """Hold the WebSocket of *request* until either side closes it. Raises InvalidError when it asks for none."""
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise InvalidError(
                "this is a WebSocket: connect with a WebSocket client (ws://…), which sends Upgrade: websocket; a proxy between must "
                "pass that header on",
                code="no_upgrade",
            )
        socket = web.WebSocketResponse(heartbeat=_HEARTBEAT_S, max_msg_size=_MAX_MESSAGE_BYTES, protocols=(SUBPROTOCOL,))
        await socket.prepare(request)
        self._open.add(socket)
        writer = asyncio.create_task(_write(socket, request, feed, bell), name="websocket writer")
        try:
            await _read(socket, request)
        finally:
            self._open.discard(socket)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
        return socket

    async def close_all(self) -> None:
        """Going away: clients come back by cursor."""
        await asyncio.gather(*(socket.close(code=1001, message=b"server shutdown") for socket in set(self._open)), return_exceptions=True)


async def _write(socket: web.WebSocketResponse, request: web.Request, feed: Feed, bell: Bell) -> None:
    try:
        await _write_on(socket, request, feed, bell)
    except Exception:  # noqa: BLE001 - the outer edge of the task: a socket left open would look like a training that says nothing
        _LOG.exception("a fault while writing to the WebSocket client at %s, which is closed", request.remote)
        await socket.close(code=WSCloseCode.INTERNAL_ERROR, message=b"the daemon made a mistake; it is in its log")


async def _write_on(socket: web.WebSocketResponse, request: web.Request, feed: Feed, bell: Bell) -> None:
    await _send(socket, request, feed.hello())
    while not socket.closed:
        turn = bell.turn
        frames = await feed.next()
        for frame in frames:
            await _send(socket, request, frame)
        if not frames:
            await turn.wait()


async def _read(socket: web.WebSocketResponse, request: web.Request) -> None:
    async for message in socket:
        if message.type is WSMsgType.TEXT and _is_ping(message.data):
            await _send(socket, request, PONG)


def _is_ping(text: str) -> bool:
    return text == "ping" or (len(text) < 100 and "".join(text.split()) in ('{"type":"ping"}', '{"type":"ping","data":null}'))


async def _send(socket: web.WebSocketResponse, request: web.Request, frame: bytes) -> None:
    """Send, within ten seconds: a client that takes longer has stopped reading. Closing would wait for it in turn; it is aborted."""
    try:
        async with asyncio.timeout(_SEND_S):
            await socket.send_str(frame.decode())
    except TimeoutError:
        _LOG.warning("a WebSocket client at %s has not read for %g s and is cut off; it can go on by its cursor", request.remote, _SEND_S)
        cut_off(request)
    except ConnectionError:
        pass  # it has gone; the reader notices


def cut_off(request: web.Request) -> None:
    """Abort, with a reset: a mere close leaves megabytes in the kernel's send buffer, for minutes, and the client none the wiser."""
    if request.transport is None:
        return
    connection = request.transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))  # socket(7)
    request.transport.abort()
