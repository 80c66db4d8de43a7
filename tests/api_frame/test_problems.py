import asyncio
import logging

import aiohttp
import pytest

from tests.api_frame.conftest import Serve, Server

EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"]


@pytest.mark.parametrize(
    ("how", "status", "error", "details"),
    [
        ("invalid", 400, "BadRequest", {"code": "invalid", "key": "epochs"}),
        ("forbidden", 403, "Forbidden", {"code": "outside_roots"}),
        ("missing", 404, "NotFound", {"code": "not_found"}),
        ("conflict", 409, "Conflict", {"code": "run_active"}),
        ("unsupported", 501, "NotImplemented", {"code": "unsupported"}),
        ("unavailable", 500, "InternalError", {"code": "unavailable"}),
        ("teapot", 400, "BadRequest", {"code": "misdirected_request"}),
        ("many", 429, "TooManyRequests", {"code": "too_many_requests"}),
        ("gateway", 500, "InternalError", {"code": "bad_gateway"}),
    ],
)
async def test_each_error_has_one_form_and_its_status(server: Server, how: str, status: int, error: str, details: dict[str, str]) -> None:
    async with server.call("POST", f"/fail/{how}") as response:
        answer = await response.json()
    assert (response.status, answer["error"], answer["details"]) == (status, error, details)
    assert answer["message"]


async def test_a_redirect_is_no_error(server: Server) -> None:
    async with server.call("POST", "/fail/found", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "/health")


@pytest.mark.parametrize("how", ["fault", "timeout", "pipe"])
async def test_a_fault_of_ours_is_a_500_with_an_id_that_is_in_the_log_with_the_traceback(
    server: Server, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with server.call("POST", f"/fail/{how}") as response:
        answer = await response.json()
    assert (response.status, answer["error"], answer["details"]["code"]) == (500, "InternalError", "internal")
    assert "secret" not in str(answer)
    assert "Traceback" not in str(answer)
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert answer["details"]["id"] in record.getMessage()
    assert f"POST /fail/{how}" in record.getMessage()
    assert record.exc_info is not None


async def test_what_is_not_utf8_in_a_message_is_replaced(server: Server) -> None:
    async with server.call("POST", "/fail/not-utf8") as response:
        assert response.status == 404
        assert (await response.json())["message"] == "no ? here"


async def test_an_unknown_path_is_a_404_that_says_where_to_look(server: Server) -> None:
    async with server.call("GET", "/nothing/%0a<b>") as response:
        answer = await response.json()
    assert (response.status, answer["error"], answer["details"]) == (404, "NotFound", {"code": "no_route"})
    assert "GET /openapi.json" in answer["message"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "OPTIONS", "TRACE"])
async def test_a_method_that_is_not_there_is_a_405_that_says_which_are(server: Server, method: str) -> None:
    async with server.call(method, "/things/x") as response:
        answer = await response.json()
    assert (response.status, answer["error"]) == (405, "MethodNotAllowed")
    assert response.headers["Allow"] == "DELETE, GET, HEAD"
    assert answer["details"] == {"code": "method_not_allowed", "allowed": ["DELETE", "GET", "HEAD"]}


async def test_an_answer_that_fails_half_way_is_cut_off_and_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        async with server.call("GET", "/late") as response:
            await response.read()
    assert "answering GET /late" in caplog.text


async def test_a_client_that_goes_away_while_it_waits_leaves_nothing_in_the_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(TimeoutError):
        async with server.call("GET", "/stuck", timeout=aiohttp.ClientTimeout(total=0.1)):
            pass
    async with server.call("GET", "/health") as response:
        assert response.status == 200
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /order HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_no_http_gets_the_same_form_and_a_closed_connection(server: Server, request_bytes: bytes) -> None:
    answer = await server.raw(request_bytes)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"application/json" in head
    assert body.startswith(b'{"error":"BadRequest","message":"this is not a valid HTTP request: ')
    assert len(body) < 400


@pytest.mark.parametrize("path", ["/", "/order", "/things/x", "/nothing", "/health", "/ws", "/openapi.json", "*"])
async def test_every_answer_of_every_method_has_a_status_of_the_api_and_json(serve: Serve, path: str) -> None:
    server = await serve(token=None)
    for method in EVERY_METHOD:
        answer = await server.raw(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert int(answer.split(b" ", 2)[1]) in {200, 400, 404, 405}, method
        assert b"Content-Type: application/json" in answer, method


async def test_many_faulty_requests_at_once_do_not_disturb_a_good_one(server: Server) -> None:
    async def bad() -> int:
        async with server.call("POST", "/order", data=b"{", headers={"Content-Type": "application/json"}) as response:
            return int(response.status)

    assert set(await asyncio.gather(*(bad() for _ in range(100)))) == {400}
    async with server.call("GET", "/health") as response:
        assert response.status == 200
