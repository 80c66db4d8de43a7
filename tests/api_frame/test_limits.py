"""Limits against a running server: 429 with Retry-After, for who goes too far and for nobody else."""

import time
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from daemon.access.named_tokens import create_token
from tests.api_frame.conftest import BEARER, DEMO, Serve, Server
from tests.api_frame.test_roles import ROUTES, ask, bearer


async def problem_of(server: Server, path: str, headers: dict[str, str]) -> tuple[int, str, str | None]:
    async with server.session.get(server.url.with_path(path), headers=headers) as response:
        problem = await response.json()
        retry = response.headers.get("Retry-After")
        if response.status == 429:
            assert problem["error"] == "TooManyRequests"
            assert problem["details"]["retry_after_s"] == int(retry or 0)
        return response.status, problem.get("details", {}).get("code", ""), retry


async def test_after_ten_wrong_tokens_the_address_waits_but_not_who_has_a_right_one(serve: Serve) -> None:
    server = await serve()
    wrong = {"Authorization": "Bearer wrong"}
    answers = [await problem_of(server, "/page", wrong) for _ in range(12)]
    assert answers[:10] == [(401, "bad_token", None)] * 10
    for status, code, retry in answers[10:]:
        assert (status, code) == (429, "rate_limited")
        assert 1 <= int(retry or 0) <= 6
    assert (await problem_of(server, "/page", BEARER))[0] == 200
    assert (await problem_of(server, "/page", wrong))[0] == 429
    assert (await problem_of(server, "/page", {}))[:2] == (401, "no_token")


async def test_calls_beyond_the_burst_of_a_token_wait_and_other_tokens_do_not(serve: Serve, tmp_path: Path) -> None:
    server = await serve(limits={"calls_per_s": 0.001, "calls_burst": 3})
    ci = create_token(tmp_path, "ci", "admin", time.time())
    assert [(await problem_of(server, "/page", BEARER))[0] for _ in range(4)] == [200, 200, 200, 429]
    status, code, retry = await problem_of(server, "/page", BEARER)
    assert (status, code) == (429, "rate_limited")
    assert 900 <= int(retry or 0) <= 1000
    assert (await problem_of(server, "/page", bearer(ci)))[0] == 200
    assert (await problem_of(server, "/health", {}))[0] == 200


async def test_without_tokens_all_callers_share_one_pace(serve: Serve) -> None:
    server = await serve(DEMO, token=None, limits={"calls_per_s": 0.001, "calls_burst": 2})
    assert [(await problem_of(server, "/page", {}))[0] for _ in range(3)] == [200, 200, 429]


async def test_open_streams_are_bounded_by_token_and_in_all_and_a_closed_one_makes_room(serve: Serve, tmp_path: Path) -> None:
    server = await serve(ROUTES, limits={"streams_per_token": 2, "streams": 3})
    phone, ci = create_token(tmp_path, "phone", "viewer", time.time()), create_token(tmp_path, "ci", "viewer", time.time())

    async with AsyncExitStack() as stack:

        async def connect(token: str) -> aiohttp.ClientWebSocketResponse:
            socket = await stack.enter_async_context(server.session.ws_connect(server.url / "ws", headers=bearer(token)))
            assert await socket.receive_str() == "hello"
            return socket

        held = [await connect(phone), await connect(phone)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await connect(phone)
        assert caught.value.status == 429
        assert caught.value.headers is not None
        assert caught.value.headers["Retry-After"] == "10"
        assert await ask(server, "GET", "/log", phone) == (429, "too_many_sockets")
        assert (await ask(server, "GET", "/things/x", phone))[0] == 200
        await connect(ci)
        assert await ask(server, "GET", "/log", ci) == (429, "too_many_sockets")  # three are open in all
        await held[0].close()
        await connect(ci)
