import asyncio
import logging
import re

import pytest

from daemon.api.models.common import NoBody, NoQuery, Success
from daemon.api.registry import Call, Route
from daemon.api.request_ids import current_request_id
from tests.api_frame.conftest import BEARER, Serve, Server

NEW = re.compile(r"[0-9a-f]{32}")


async def tell(call: Call[NoBody, NoQuery]) -> Success:
    return Success(message=f"{current_request_id()} {await asyncio.to_thread(current_request_id)}")


TELL = Route("GET", "/tell", tell, "Tell the id", "demo")


@pytest.mark.parametrize("given", ["a", "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "Ab0._:+/=-", "x" * 128])
async def test_a_well_formed_id_of_the_client_is_taken_and_answered(server: Server, given: str) -> None:
    async with server.call("GET", "/page", headers={"X-Request-Id": given}) as response:
        assert response.headers.getall("X-Request-Id") == [given]


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", 'quo"te', "ähm", "a,b", "{}"])
async def test_any_other_is_replaced_by_a_new_one(server: Server, given: str) -> None:
    async with server.call("GET", "/page", headers={"X-Request-Id": given}) as response:
        assert NEW.fullmatch(response.headers["X-Request-Id"])


async def test_each_request_has_its_own_also_on_one_connection(server: Server) -> None:
    seen = set()
    for _ in range(5):
        async with server.call("GET", "/page") as response:
            seen.add(response.headers["X-Request-Id"])
    assert len(seen) == 5


async def test_errors_and_websockets_bear_it_too(server: Server) -> None:
    for path, status in (("/nothing", 404), ("/page?limit=x", 400)):
        async with server.call("GET", path, headers={"X-Request-Id": "mine"}) as response:
            assert (response.status, response.headers["X-Request-Id"]) == (status, "mine")
    async with server.session.get(server.url / "page", headers={"X-Request-Id": "mine"}) as response:
        assert (response.status, response.headers["X-Request-Id"]) == (401, "mine")
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    head = f"GET /ws HTTP/1.1\r\nHost: localhost\r\nAuthorization: {BEARER['Authorization']}\r\nX-Request-Id: mine\r\n{upgrade}\r\n"
    answer = await server.raw(head.encode(), at_once=True)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nX-Request-Id: mine\r\n" in answer


async def test_handlers_and_their_threads_know_it(serve: Serve) -> None:
    server = await serve([TELL])
    async with server.call("GET", "/tell", headers={"X-Request-Id": "mine"}) as response:
        assert (await response.json())["message"] == "mine mine"
    assert current_request_id() is None


async def test_the_log_of_a_fault_is_written_while_the_id_is_known(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = await serve()
    known: list[str | None] = []
    handler = logging.Handler()
    handler.emit = lambda record: known.append(current_request_id())  # type: ignore[method-assign]  # the smallest handler there is
    logging.getLogger("daemon.api.problems").addHandler(handler)
    try:
        async with server.call("POST", "/fail/fault", headers={"X-Request-Id": "mine"}) as response:
            assert response.status == 500
    finally:
        logging.getLogger("daemon.api.problems").removeHandler(handler)
    assert known == ["mine"]
