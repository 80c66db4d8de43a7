"""The end of a WebSocket, as its client meets it."""

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from daemon.api.feed import Feed
from daemon.api.models.common import NoBody, NoQuery
from daemon.api.registry import Call, Route
from daemon.api.stream import PONG, Sockets
from daemon.supervisor.hub import Bell
from tests.api_frame.conftest import Serve


class Broken(Feed):
    def __init__(self) -> None:
        pass

    def hello(self) -> bytes:
        return PONG

    async def next(self) -> list[bytes]:
        raise KeyError("a field that the journal lacks")


async def stream(call: Call[NoBody, NoQuery]) -> web.WebSocketResponse:
    return await Sockets().serve(call.request, Broken(), Bell())


async def test_a_plain_get_is_told_that_this_is_a_websocket(serve: Serve) -> None:
    server = await serve([Route("GET", "/ws", stream, "Listen", "stream")], token=None)
    async with server.call("GET", "/ws") as response:
        answer = await response.json()
    assert (response.status, answer["details"]["code"]) == (400, "no_upgrade")
    assert "WebSocket client" in answer["message"]


async def test_a_client_whose_writer_fails_is_closed_with_1011_and_the_log_says_why_once(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve([Route("GET", "/ws", stream, "Listen", "stream")], token=None)
    async with aiohttp.ClientSession() as client, client.ws_connect(f"{server.url}/ws") as socket:
        assert (await socket.receive_json(timeout=20)) == {"type": "pong"}
        assert (await socket.receive(timeout=20)).type is WSMsgType.CLOSE
        assert socket.close_code == 1011
    assert caplog.text.count("Traceback") == 1
    assert "KeyError: 'a field that the journal lacks'" in caplog.text
