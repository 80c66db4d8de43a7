import asyncio
import gzip
import json
from typing import Any

import pytest
from aiohttp import web

from daemon.api import body
from daemon.api.models.common import NoBody, NoQuery, Success
from daemon.api.registry import Call, Route
from tests.api_frame.conftest import TOKEN, Serve, Server

JSON = {"Content-Type": "application/json"}
HEAD = f"POST /order HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nContent-Length: "


async def refused(server: Server, status: int, data: Any, headers: dict[str, str] | None = None, path: str = "/order") -> dict[str, Any]:
    async with server.call("POST", path, data=data, headers=JSON if headers is None else headers) as response:
        answer: dict[str, Any] = await response.json()
        assert (response.status, answer["error"]) == (
            status,
            {400: "BadRequest", 413: "PayloadTooLarge", 415: "UnsupportedMediaType"}[status],
        )
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert set(answer) == {"error", "message", "details"}
        return answer


async def test_a_body_and_a_query_reach_the_handler_as_models(server: Server) -> None:
    async with server.call("POST", "/order", json={"name": "n", "inner": {"number": 3}, "anything": {"deep": [1]}}) as response:
        assert (await response.json())["got"] == {
            "name": "n",
            "count": 1,
            "flag": False,
            "inner": {"number": 3.0},
            "anything": {"deep": [1]},
        }
    async with server.call("GET", "/page?limit=5&order=down") as response:
        assert (await response.json())["got"] == {"limit": 5, "order": "down"}


async def test_seed_routes_are_served_under_api_too_and_others_are_not(server: Server) -> None:
    async with server.call("GET", "/api/page") as response:
        assert response.status == 200
    async with server.call("GET", "/api/things/x") as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("raw", "name"),
    [("%231%20a", "#1 a"), ("a%2Fb", "a/b"), ("%2e%2e", ".."), ("%00", "\0"), ("%C3%A4", "ä"), ("a%25b", "a%b"), ("%7Bx%7D", "{x}")],
)
async def test_a_path_parameter_arrives_decoded_once(server: Server, raw: str, name: str) -> None:
    async with server.call("GET", f"/things/{raw}") as response:
        if response.status == 200:
            assert (await response.json())["got"] == {"name": name}
        else:
            # yarl resolves dots before routing, so that /things/.. is the path /
            assert (raw, response.status) == ("%2e%2e", 404)


async def test_head_answers_as_get_without_a_body(server: Server) -> None:
    async with server.call("HEAD", "/page") as response:
        assert (response.status, await response.read()) == (200, b"")
        assert int(response.headers["Content-Length"]) > 0


@pytest.mark.parametrize(
    ("query", "loc", "message"),
    [
        ("limt=5", ["limt"], "there is no such field; did you mean limit?"),
        ("limit=0", ["limit"], "greater than or equal to 1"),
        ("limit=x", ["limit"], "valid integer"),
        ("limit=" + "9" * 5000, ["limit"], ""),
        ("order=sideways", ["order"], "'up' or 'down'"),
    ],
)
async def test_a_wrong_query_parameter_is_told(server: Server, query: str, loc: list[str], message: str) -> None:
    async with server.call("GET", f"/page?{query}") as response:
        answer = await response.json()
    assert response.status == 400
    assert answer["details"]["code"] == "invalid_query"
    [error] = answer["details"]["errors"]
    assert (error["loc"], error.keys()) == (loc, {"loc", "msg", "type"})
    assert message in error["msg"]
    assert message in answer["message"]


async def test_a_query_parameter_given_twice_is_refused_and_an_empty_one_is_not_given(server: Server) -> None:
    async with server.call("GET", "/page?limit=1&limit=2") as response:
        assert response.status == 400
    async with server.call("GET", "/page?limit=") as response:
        assert (await response.json())["got"]["limit"] == 20


async def test_a_route_without_query_parameters_refuses_any(server: Server) -> None:
    async with server.call("GET", "/things/x?verbose=1") as response:
        assert response.status == 400
        assert "known are: none" in (await response.json())["message"]


@pytest.mark.parametrize(
    ("value", "loc", "kind"),
    [
        ({}, ["name"], "missing"),
        ({"name": 1}, ["name"], "string_type"),
        ({"name": None}, ["name"], "string_type"),
        ({"name": "n", "count": "1"}, ["count"], "int_type"),
        ({"name": "n", "count": True}, ["count"], "int_type"),
        ({"name": "n", "count": 1.5}, ["count"], "int_type"),
        ({"name": "n", "count": 10}, ["count"], "less_than_equal"),
        ({"name": "n", "flag": 1}, ["flag"], "bool_type"),
        ({"name": "n", "inner": {"number": "x"}}, ["inner", "number"], "float_type"),
        ({"name": "n", "inner": {"other": 1}}, ["inner", "other"], "extra_forbidden"),
        ({"name": "n", "cuont": 1}, ["cuont"], "extra_forbidden"),
    ],
)
async def test_a_field_of_the_wrong_type_is_told_with_its_place(server: Server, value: object, loc: list[str], kind: str) -> None:
    answer = await refused(server, 400, json.dumps(value))
    [error] = answer["details"]["errors"]
    assert (error["loc"], error["type"]) == (loc, kind)
    assert answer["message"].startswith(f"the body is not valid: {'.'.join(loc)}: ")


async def test_thousands_of_wrong_fields_make_a_short_answer(server: Server) -> None:
    answer = await refused(server, 400, json.dumps({"x" * 1000 + str(n): n for n in range(1000)}))
    assert len(json.dumps(answer)) < 20_000
    assert "and 991 more" in answer["message"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "the body: not valid JSON: expecting property name enclosed in double quotes (line 1, column 2)"),
        (b'{"name": NaN}', "NaN is no JSON number (line 1, column 10)"),
        (b'{"name": 1, "name": 2}', "the key 'name' occurs twice in one object (line 1, column 13)"),
        (b"[1]", "a JSON object {…} was expected, not an array"),
        (b'{"name": "\xff"}', "not UTF-8"),
        (b'{"a":' * 5000, "more than 64 levels deep"),
        (b'{"name": "\\ud800"}', "half a surrogate pair"),
    ],
)
async def test_a_body_that_is_no_plain_json_object_is_a_400_with_the_place(server: Server, data: bytes, message: str) -> None:
    answer = await refused(server, 400, data)
    assert message in answer["message"]
    assert answer["details"]["code"] == "bad_json"


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "",
        "nonsense",
    ],
)
async def test_another_content_type_is_a_415_that_says_what_to_send(server: Server, kind: str) -> None:
    answer = await refused(server, 415, b'{"name": "n"}', {"Content-Type": kind})
    assert "JSON is UTF-8" in answer["message"] or "send application/json" in answer["message"]


async def test_json_with_its_charset_said_is_fine(server: Server) -> None:
    async with server.call(
        "POST", "/order", data=b'{"name": "n"}', headers={"Content-Type": "application/json; charset=UTF-8"}
    ) as response:
        assert response.status == 200


async def test_an_empty_body_counts_as_an_empty_object(server: Server) -> None:
    async with server.call("POST", "/loose") as response:
        assert (await response.json())["message"] == "none"
    answer = await refused(server, 400, b"", {})
    assert answer["details"]["errors"] == [{"loc": ["name"], "msg": "Field required", "type": "missing"}]


async def test_a_route_without_a_body_ignores_one_of_json_and_refuses_what_a_form_could_send(server: Server) -> None:
    async with server.call("DELETE", "/things/x", json={"what": "ever"}) as response:
        assert response.status == 200
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        async with server.call("DELETE", "/things/x", data=b"whatever", headers={"Content-Type": kind}) as response:
            assert response.status == 415
        async with server.call("DELETE", "/things/x", data=b"", headers={"Content-Type": kind}) as response:
            assert response.status == 200


async def test_a_body_said_to_be_too_large_is_refused_before_it_is_sent(server: Server) -> None:
    request = HEAD + "99999999999\r\n\r\n"
    answer = await server.raw(request.encode(), at_once=True)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"http.max_body_bytes" in answer


async def test_a_chunked_body_is_cut_off_at_the_limit(serve: Serve) -> None:
    server = await serve(http={"max_body_bytes": 2000})

    async def endless() -> Any:
        for _ in range(1000):
            yield b" " * 1000

    answer = await refused(server, 413, endless())
    assert answer["details"]["limit"] == 2000


async def test_a_compressed_body_counts_as_what_it_unpacks_to(serve: Serve) -> None:
    server = await serve(http={"max_body_bytes": 20_000})
    bomb = gzip.compress(b'{"name": "' + b"x" * 10_000_000 + b'"}')
    assert len(bomb) < 20_000
    await refused(server, 413, bomb, {**JSON, "Content-Encoding": "gzip"})
    async with server.call(
        "POST", "/order", data=gzip.compress(b'{"name": "n"}'), headers={**JSON, "Content-Encoding": "gzip"}
    ) as response:
        assert response.status == 200


async def test_a_body_that_is_not_what_its_encoding_says_is_a_400(server: Server) -> None:
    answer = await refused(server, 400, b'{"name": "n"}', {**JSON, "Content-Encoding": "gzip"})
    assert answer["details"]["code"] in {"bad_body", "bad_http"}


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_cannot_be_unpacked_is_a_400_and_no_traceback(
    server: Server, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    garbled = gzip.compress(b'{"name": "n"}')[:12] + b"x" * 20
    request = HEAD + f"{len(garbled)}\r\nContent-Encoding: {encoding}\r\n\r\n"
    answer = await server.raw(request.encode() + garbled)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"bad_body"' in answer
    assert "Traceback" not in caplog.text


async def test_a_client_that_stalls_gets_a_400_and_the_connection_is_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    read = body.read_object
    monkeypatch.setattr(body, "read_object", lambda request, limit: read(request, limit, 0.1))
    server = await serve()
    request = HEAD + '50\r\n\r\n{"name'
    answer = await server.raw(request.encode(), at_once=True)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"the body did not come within 0.1 s" in answer


async def test_a_client_that_goes_away_in_its_body_leaves_nothing_in_the_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    request = HEAD + '50\r\n\r\n{"name'
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request.encode())
    await writer.drain()
    writer.transport.abort()
    async with server.call("GET", "/health") as response:
        assert response.status == 200
    assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []
    del reader


async def test_a_client_that_asks_first_is_told_to_go_on_only_when_it_may(server: Server) -> None:
    close = "13\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    refused_answer = await server.raw((HEAD.replace(TOKEN, "wrong") + close).encode(), at_once=True)
    assert refused_answer.startswith(b"HTTP/1.1 401 ")
    granted = await server.raw((HEAD + close).encode() + b'{"name": "n"}')
    assert granted.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


async def test_an_expectation_that_is_not_known_is_a_400(server: Server) -> None:
    answer = await refused(server, 400, b'{"name": "n"}', {**JSON, "Expect": "a miracle"})
    assert answer["details"]["code"] == "bad_expect"


def test_a_handler_that_says_no_model_is_refused_when_the_table_is_made() -> None:
    async def nothing(call: Call[NoBody, NoQuery]) -> None:
        return None

    with pytest.raises(TypeError, match="must return a model"):
        Route("GET", "/x", nothing, "x", "x")  # type: ignore[arg-type]  # what is tested


def test_a_route_reads_its_models_from_the_annotations() -> None:
    async def stop(call: Call[NoBody, NoQuery]) -> Success:
        return Success(message="")

    route = Route("POST", "/stop", stop, "Stop", "training", seed=True)
    assert (route.body, route.query, route.response) == (NoBody, NoQuery, Success)
    assert route.paths == ("/stop", "/api/stop")
    assert not isinstance(route.response, web.StreamResponse)
