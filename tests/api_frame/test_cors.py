"""Pages of other origins, as a browser asks for them."""

import pytest

from tests.api_frame.conftest import BEARER, Serve, Server

DASH = "https://dash.example"
PREFLIGHT = {"Origin": DASH, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,content-type"}
ORIGIN, METHODS, HEADERS = (f"Access-Control-Allow-{name}" for name in ("Origin", "Methods", "Headers"))


@pytest.fixture
async def server(serve: Serve) -> Server:
    return await serve(http={"allowed_origins": [DASH, "http://localhost:3000"]})


@pytest.mark.parametrize("path", ["/page", "/order", "/nothing", "/ws"])
async def test_a_preflight_of_an_allowed_page_is_answered_without_a_token_and_alike_for_all_paths(server: Server, path: str) -> None:
    async with server.session.options(server.url.with_path(path), headers=PREFLIGHT) as response:
        assert (response.status, await response.read()) == (204, b"")
        assert response.headers[ORIGIN] == DASH
        assert set(response.headers[METHODS].split(", ")) == {"GET", "HEAD", "POST", "PUT", "DELETE"}
        assert {"Authorization", "Content-Type", "Idempotency-Key"} <= set(response.headers[HEADERS].split(", "))
        assert int(response.headers["Access-Control-Max-Age"]) > 0
        assert response.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://dash.example.evil.example", "http://dash.example"])
async def test_a_preflight_of_any_other_page_is_refused(server: Server, origin: str) -> None:
    async with server.session.options(server.url / "page", headers={**PREFLIGHT, "Origin": origin}) as response:
        assert response.status == 403
        assert ORIGIN not in response.headers
        assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    ("path", "headers", "status"), [("/page", BEARER, 200), ("/page", {}, 401), ("/nothing", BEARER, 404), ("/page?limit=x", BEARER, 400)]
)
async def test_an_allowed_page_may_read_answers_and_errors(server: Server, path: str, headers: dict[str, str], status: int) -> None:
    async with server.session.get(f"{server.url}{path}", headers={**headers, "Origin": DASH}) as response:
        assert (response.status, response.headers.getall(ORIGIN)) == (status, [DASH])
        assert response.headers["Vary"] == "Origin"
        assert "X-Request-Id" in response.headers["Access-Control-Expose-Headers"]


async def test_answers_to_others_do_not_allow_them_but_vary(server: Server) -> None:
    async with server.session.get(server.url / "page", headers=BEARER) as response:
        assert (response.status, response.headers["Vary"]) == (200, "Origin")
        assert ORIGIN not in response.headers


async def test_an_allowed_page_may_open_a_websocket(server: Server) -> None:
    async with server.session.ws_connect(server.url / "ws", headers={**BEARER, "Origin": DASH}) as socket:
        assert await socket.receive_str() == "hello"


async def test_without_the_setting_there_is_no_cors_at_all(serve: Serve) -> None:
    server = await serve()
    async with server.session.options(server.url / "page", headers=PREFLIGHT) as response:
        assert response.status == 403
        assert not [name for name in response.headers if name.lower().startswith("access-control-") or name == "Vary"]
    own = str(server.url.origin())
    async with server.session.get(server.url / "page", headers={**BEARER, "Origin": own}) as response:
        assert response.status == 200
        assert ORIGIN not in response.headers


async def test_options_without_a_page_needs_a_token_like_anything_else(server: Server) -> None:
    async with server.session.options(server.url / "page") as response:
        assert response.status == 401
    async with server.session.options(server.url / "page", headers={**BEARER, "Origin": DASH}) as response:
        assert response.status == 405
