import os
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from daemon.access.token import ensure_token, read_token
from daemon.errors import NotFoundError, UnavailableError
from tests.api_frame.conftest import BEARER, TOKEN, Serve, Server

REST = f"Connection: close\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"


async def status(server: Server, headers: dict[str, str], path: str = "/page") -> tuple[int, str]:
    async with server.session.get(server.url.with_path(path), headers=headers) as response:
        answer = await response.json()
        if response.status == 401:
            assert response.headers["WWW-Authenticate"].startswith('Bearer realm="onetrainerd"')
        return response.status, answer.get("details", {}).get("code", "")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (BEARER, (200, "")),
        ({"Authorization": f"bearer  {TOKEN} "}, (200, "")),
        ({}, (401, "no_token")),
        ({"Authorization": TOKEN}, (401, "no_token")),
        ({"Authorization": "Bearer "}, (401, "no_token")),
        ({"Authorization": f"Basic {TOKEN}"}, (401, "no_token")),
        ({"Authorization": f"Bearer {TOKEN}x"}, (401, "bad_token")),
        ({"Authorization": f"Bearer {TOKEN[:-1]}"}, (401, "bad_token")),
        ({"Authorization": "Bearer ähm"}, (401, "bad_token")),
        ({"Cookie": f"token={TOKEN}"}, (401, "no_token")),
        ({"Sec-WebSocket-Protocol": f"onetrainerd.token.{TOKEN}"}, (401, "no_token")),
    ],
)
async def test_only_the_bearer_of_the_token_gets_in(server: Server, headers: dict[str, str], expected: tuple[int, str]) -> None:
    assert await status(server, headers) == expected


async def test_the_token_in_the_url_does_not_count(server: Server) -> None:
    async with server.session.get((server.url / "health").with_path("/page") % {"token": TOKEN}) as response:
        assert response.status == 401


async def test_a_stranger_is_not_told_the_versions_of_what_answers(server: Server) -> None:
    for path in ("/health", "/page", "/nothing"):
        async with server.session.get(server.url.with_path(path)) as response:
            assert response.headers.getall("Server") == ["onetrainerd"]


async def test_a_public_route_needs_no_token_but_a_known_host(server: Server) -> None:
    assert await status(server, {}, "/health") == (200, "")
    assert await status(server, {"Host": "evil.example"}, "/health") == (403, "host")


async def test_a_path_or_method_that_is_not_there_is_only_told_to_bearers(server: Server) -> None:
    assert await status(server, {}, "/nothing") == (401, "no_token")
    async with server.session.put(server.url / "health") as response:
        assert response.status == 401


async def test_without_authentication_everybody_on_this_machine_gets_in(serve: Serve) -> None:
    assert await status(await serve(token=None), {}) == (200, "")


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "LOCALHOST:8000", "127.0.0.1", "127.8.8.8:80", "[::1]", "[::1]:8000"])
async def test_loopback_hosts_are_answered_with_any_port(server: Server, host: str) -> None:
    assert await status(server, {**BEARER, "Host": host}) == (200, "")


FOREIGN = """evil.example evil.example:8000 localhost.evil.example 127.0.0.1.evil.example 10.0.0.1 localhost:8000@evil.example
    [::2] localhost: 0.0.0.0 [127.0.0.1"""


@pytest.mark.parametrize("host", [*FOREIGN.split(), "a b"])
async def test_a_foreign_host_is_refused_even_with_the_token(server: Server, host: str) -> None:
    assert await status(server, {**BEARER, "Host": host}) == (403, "host")


async def test_no_host_or_two_of_them_are_refused(server: Server) -> None:
    none = await server.raw(f"GET /page HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
    assert none.split(b" ")[1] == b"403"
    two = await server.raw(f"GET /page HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n{REST}".encode())
    assert two.split(b" ")[1] in {b"400", b"403"}


async def test_an_absolute_url_in_the_request_line_is_no_way_around_the_host(server: Server) -> None:
    answer = await server.raw(f"GET http://localhost/page HTTP/1.1\r\nHost: evil.example\r\n{REST}".encode())
    assert answer.split(b" ")[1] == b"403"


async def test_hosts_of_the_settings_are_answered_with_their_port_or_any(serve: Serve) -> None:
    server = await serve(host="gpu.lan", http={"allowed_hosts": ["proxy.example:8443", "any.example", "[fd00::1]"]})
    for host in ("gpu.lan:1", "proxy.example:8443", "any.example", "any.example:5", "[fd00::1]:80", "ANY.example"):
        assert await status(server, {**BEARER, "Host": host}) == (200, "")
    for host in ("proxy.example", "proxy.example:1", "x.any.example"):
        assert await status(server, {**BEARER, "Host": host}) == (403, "host")


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        ("http://localhost:8000", "localhost:8000", 200),
        ("https://localhost", "localhost:443", 200),
        ("http://localhost", "localhost:80", 200),
        ("http://[::1]:8000", "[::1]:8000", 200),
        ("https://dash.example", "localhost:8000", 200),
        ("http://localhost:3000", "localhost:8000", 403),
        ("http://127.0.0.1:8000", "localhost:8000", 403),
        ("http://dash.example", "localhost:8000", 403),
        ("https://evil.example", "localhost:8000", 403),
        ("https://dash.example.evil.example", "localhost:8000", 403),
        ("null", "localhost:8000", 403),
        ("", "localhost:8000", 403),
        ("file://", "localhost:8000", 403),
        ("chrome-extension://abc", "localhost:8000", 403),
    ],
)
async def test_a_page_may_call_from_its_own_origin_or_an_allowed_one_only(serve: Serve, origin: str, host: str, expected: int) -> None:
    server = await serve(http={"allowed_origins": ["https://dash.example"]})
    assert (await status(server, {**BEARER, "Host": host, "Origin": origin}))[0] == expected
    assert (await status(server, {"Host": host, "Origin": origin}, "/health"))[0] == expected


async def test_the_websocket_takes_the_token_as_a_header_or_as_a_subprotocol(server: Server) -> None:
    async with server.session.ws_connect(server.url / "ws", headers=BEARER) as ws:
        assert (await ws.receive_str()) == "hello"
    protocols = ["onetrainerd", f"onetrainerd.token.{TOKEN}"]
    async with server.session.ws_connect(server.url / "ws", protocols=protocols) as ws:
        assert ws.protocol == "onetrainerd"
        assert (await ws.receive_str()) == "hello"


@pytest.mark.parametrize(
    ("protocols", "headers", "expected"),
    [
        ([], {}, 401),
        (["onetrainerd", "onetrainerd.token.wrong"], {}, 401),
        (["onetrainerd", "onetrainerd.token."], {}, 401),
        ([], {**BEARER, "Origin": "https://evil.example"}, 403),
        ([], {**BEARER, "Host": "evil.example"}, 403),
    ],
)
async def test_the_websocket_is_refused_before_it_opens(
    server: Server, protocols: list[str], headers: dict[str, str], expected: int
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await server.session.ws_connect(URL(f"{server.url}/ws"), protocols=protocols, headers=headers)
    assert caught.value.status == expected


def test_a_token_is_made_once_with_256_bits_for_the_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "state" / "token"
    token = ensure_token(file)
    assert len(token) == 43
    assert file.stat().st_mode & 0o777 == 0o600
    assert ensure_token(file) == read_token(file) == token
    assert [entry.name for entry in file.parent.iterdir()] == ["token"]
    assert ensure_token(tmp_path / "other") != token


def test_a_token_that_others_can_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "token"
    ensure_token(file)
    file.chmod(0o640)
    with pytest.raises(UnavailableError, match=f"mode 0640: others can read the token.*chmod 600 {file}"):
        ensure_token(file)


@pytest.mark.parametrize("content", ["", "short", "a" * 40 + " b", "ä" * 40, "a" * 42 + "/"])
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(content)
    with pytest.raises(UnavailableError, match="holds no token"):
        ensure_token(file)


def test_a_link_a_pipe_or_a_folder_is_no_token_file(tmp_path: Path) -> None:
    real = tmp_path / "real"
    ensure_token(real)
    (tmp_path / "link").symlink_to(real)
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(UnavailableError):
            ensure_token(tmp_path / name)


def test_a_reader_does_not_make_a_token(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="makes it when it starts"):
        read_token(tmp_path / "token")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match=r"(cannot be made|cannot be read): Not a directory"):
        ensure_token(tmp_path / "file" / "token")
