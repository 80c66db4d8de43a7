"""Tokens with names and roles against a running server: what they may, and that a change counts at once."""

import asyncio
import contextlib
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from daemon.access.named_tokens import create_token, revoke_token
from daemon.access.token import rotate_token
from daemon.api.models.common import NoBody, NoQuery, Success
from daemon.api.registry import Call, Route
from tests.api_frame.conftest import TOKEN, Serve, Server, remove, thing

DEADLINE_S = 30


async def listen(call: Call[NoBody, NoQuery]) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(protocols=("onetrainerd",))
    await ws.prepare(call.request)
    await ws.send_str("hello")
    async for message in ws:
        await ws.send_str(message.data)
    return ws


async def endless(call: Call[NoBody, NoQuery]) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(call.request)
    await response.write(b"line\n")
    while call.request.transport is not None:  # noqa: ASYNC110 - the end of a connection is no event that a handler could await
        await asyncio.sleep(0.01)
    return response


async def order(call: Call[NoBody, NoQuery]) -> Success:
    return Success(message="done")


ROUTES = [
    Route("GET", "/things/{name}", thing, "Show", "demo", role="viewer"),
    Route("DELETE", "/things/{name}", remove, "Delete", "demo"),
    Route("POST", "/orders", order, "Order", "demo"),
    Route("GET", "/ws", listen, "Listen", "demo", role="viewer", is_stream=True),
    Route("GET", "/log", endless, "Read on", "demo", role="viewer", is_stream=True),
]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def ask(server: Server, method: str, path: str, token: str) -> tuple[int, str]:
    async with server.session.request(method, server.url.with_path(path), headers=bearer(token)) as response:
        answer = await response.json() if method != "HEAD" else {}
        return response.status, answer.get("details", {}).get("code", "")


@pytest.fixture
async def server(serve: Serve) -> Server:
    return await serve(ROUTES)


async def test_a_viewer_reads_and_an_admin_does_everything(server: Server, tmp_path: Path) -> None:
    viewer, admin = create_token(tmp_path, "phone", "viewer", time.time()), create_token(tmp_path, "ci", "admin", time.time())
    for method, path in (("GET", "/things/x"), ("HEAD", "/things/x"), ("DELETE", "/things/x"), ("POST", "/orders")):
        may = method in {"GET", "HEAD"}
        assert await ask(server, method, path, viewer) == ((200, "") if may else (403, "role"))
        assert (await ask(server, method, path, admin))[0] == (await ask(server, method, path, TOKEN))[0] == 200
    assert await ask(server, "GET", "/nothing", viewer) == (404, "no_route")
    async with server.session.post(server.url / "orders", headers=bearer(viewer)) as response:
        problem = await response.json()
    assert problem["message"].startswith("POST /orders is for admins, and 'phone' is the token of a viewer")


async def test_a_token_counts_from_its_making_to_its_end(server: Server, tmp_path: Path) -> None:
    phone = create_token(tmp_path, "phone", "viewer", time.time())
    assert (await ask(server, "GET", "/things/x", phone))[0] == 200
    revoke_token(tmp_path, "phone")
    assert await ask(server, "GET", "/things/x", phone) == (401, "bad_token")
    old = create_token(tmp_path, "old", "viewer", time.time() - 100, 99.0)
    assert await ask(server, "GET", "/things/x", old) == (401, "token_expired")
    new = rotate_token(tmp_path / "token")
    assert await ask(server, "GET", "/things/x", TOKEN) == (401, "bad_token")
    assert (await ask(server, "GET", "/things/x", new))[0] == 200


async def test_what_a_revoked_token_has_open_ends_and_no_other(server: Server, tmp_path: Path) -> None:
    phone, ci = create_token(tmp_path, "phone", "viewer", time.time()), create_token(tmp_path, "ci", "viewer", time.time())
    async with (
        server.session.ws_connect(server.url / "ws", headers=bearer(phone)) as socket,
        server.session.ws_connect(server.url / "ws", headers=bearer(ci)) as other,
        server.session.get(server.url / "log", headers=bearer(phone)) as log,
    ):
        assert [await socket.receive_str(), await other.receive_str(), await log.content.readline()] == ["hello", "hello", b"line\n"]
        revoke_token(tmp_path, "phone")
        async with asyncio.timeout(DEADLINE_S):
            end = await socket.receive()
            assert (end.type, end.data, end.extra) == (aiohttp.WSMsgType.CLOSE, 1008, "the token has been revoked or has expired")
            with pytest.raises(aiohttp.ClientError):
                await log.content.read()
        await other.send_str("still here")
        assert await other.receive_str() == "still here"


async def test_what_is_open_ends_when_its_token_expires(server: Server, tmp_path: Path) -> None:
    phone = create_token(tmp_path, "phone", "viewer", time.time(), 1.5)
    async with server.session.ws_connect(server.url / "ws", protocols=["onetrainerd", f"onetrainerd.token.{phone}"]) as socket:
        assert await socket.receive_str() == "hello"
        async with asyncio.timeout(DEADLINE_S):
            assert (await socket.receive()).data == 1008


async def test_a_websocket_that_does_not_answer_the_goodbye_is_cut_off(server: Server, tmp_path: Path) -> None:
    phone = create_token(tmp_path, "phone", "viewer", time.time())
    head = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"{head}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer {phone}\r\n\r\n".encode())
    await reader.readuntil(b"hello")
    revoke_token(tmp_path, "phone")
    async with asyncio.timeout(DEADLINE_S):
        with contextlib.suppress(ConnectionResetError):
            await reader.read()  # to the end, which the server makes
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_a_token_in_a_url_is_refused_with_how_to_send_it(server: Server) -> None:
    for path in ("ws", "things/x", "nothing"):
        for name in ("token", "access_token", "Token"):
            async with server.session.get(server.url / path % {name: TOKEN}) as response:
                problem = await response.json()
            assert (response.status, problem["details"]["code"]) == (401, "token_in_url")
            assert "Authorization: Bearer" in problem["message"]
            assert "onetrainerd.token.<token>" in problem["message"]
            assert TOKEN not in str(problem)
