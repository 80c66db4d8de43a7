"""Every route of the real application, by everything that is refused. The rows come from the registry: a new route is in at once."""

import re
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from daemon.access.named_tokens import create_token, revoke_token
from daemon.api.models.common import FOR_ADMINS
from daemon.api.registry import BY_ENDPOINT, Route
from tests.access.conftest import Begin, Real

Refusal = tuple[int, str]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
DASH = "https://dash.example"


def endpoints(real: Real) -> Iterator[tuple[str, str, Route]]:
    """Method, path and route of each, twins below `/api` and HEAD included; `{parameters}` are filled in."""
    for (method, path), route in real.app[BY_ENDPOINT].items():
        yield method, re.sub(r"\{\w+\}", "x", path), route


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def compare(real: Real, expected: Callable[[Route], Refusal | None], headers: dict[str, str], **options: Any) -> None:
    """Ask every endpoint. *expected* None: it is let in, whatever comes of it then."""
    wrong = []
    for method, path, route in endpoints(real):
        status, code = await real.ask(method, path, headers, **options)
        wanted = expected(route)
        if wanted is None:
            is_right = status not in {401, 403, 415, 429} and status < 500
        else:
            is_right = (status, code) == (wanted[0], "" if method == "HEAD" else wanted[1])
        if not is_right:
            wrong.append(f"{method} {path}: {status} {code}, and not {wanted or 'let in'}")
    assert not wrong, "\n".join(wrong)


def unless_public(status: int, code: str) -> Callable[[Route], Refusal | None]:
    return lambda route: None if route.public else (status, code)


def always(status: int, code: str) -> Callable[[Route], Refusal | None]:
    return lambda _: (status, code)


async def test_the_router_knows_no_route_that_is_not_in_the_registry(begin: Begin) -> None:
    real = await begin()
    routed = {(route.method, route.resource.canonical) for route in real.app.router.routes() if route.resource}
    assert routed == real.app[BY_ENDPOINT].keys()
    assert len(routed) > 90
    assert {path for _, path in routed} >= {"/ws", "/api/ws", "/openapi.json", "/health", "/api/health"}


VIEWER_MAY_ALSO = {"POST /config/validate", "POST /config/diff"}
"""Calls that change nothing though they are no GET: the config comes in the body."""
PUBLIC = re.compile(r"GET /(health|ready|docs(/.*)?)")


async def test_a_viewer_changes_nothing_and_a_stranger_sees_only_whether_it_lives(begin: Begin) -> None:
    routes = [route for _, _, route in endpoints(await begin())]
    named = {f"{route.method} {route.path}": route for route in routes}
    changing = {name for name, route in named.items() if route.role == "viewer" and route.method != "GET"}
    assert changing <= VIEWER_MAY_ALSO
    assert not [name for name, route in named.items() if route.public and not PUBLIC.fullmatch(name)]


async def test_a_viewer_names_no_place_on_the_disk(begin: Begin) -> None:
    real = await begin()
    viewer = create_token(real.state_dir, "phone", "viewer", time.time())
    seen = set()
    for method, path, route in endpoints(real):
        if route.role != "viewer" or method != "GET":
            continue
        for name, field in route.query.model_fields.items():
            is_place = bool(re.search(r"(^|_)(dir|path|file|folder)$", name))
            assert (field.json_schema_extra == FOR_ADMINS) == is_place, f"{path}?{name}"
            if is_place:
                seen.add(name)
                asked = f"{path}?{name}={quote(str(real.state_dir), safe='')}"
                assert await real.ask(method, asked, bearer(viewer)) == (403, "role"), asked
                assert (await real.ask(method, asked, bearer(real.token)))[1] != "role", asked
    assert seen >= {"config_dir", "samples_dir"}


async def test_a_viewer_starts_no_process_to_judge_a_config(begin: Begin) -> None:
    real = await begin()
    viewer = bearer(create_token(real.state_dir, "phone", "viewer", time.time()))
    as_json = {"Content-Type": "application/json"}
    assert (await real.ask("POST", "/config/validate?deep=true", viewer | as_json))[:2] == (403, "role")
    assert (await real.ask("POST", "/config/validate?deep=false", viewer | as_json))[1] != "role"


async def no_token(real: Real) -> None:
    await compare(real, unless_public(401, "no_token"), {})


async def wrong_token(real: Real) -> None:
    await compare(real, unless_public(401, "bad_token"), bearer("w" * 43))


async def revoked_token(real: Real) -> None:
    token = create_token(real.state_dir, "gone", "admin", time.time())
    assert await real.ask("GET", "/runs", bearer(token)) == (200, "")
    revoke_token(real.state_dir, "gone")
    await compare(real, unless_public(401, "bad_token"), bearer(token))


async def expired_token(real: Real) -> None:
    token = create_token(real.state_dir, "old", "admin", time.time() - 10, 9.0)
    await compare(real, unless_public(401, "token_expired"), bearer(token))


async def viewer_token(real: Real) -> None:
    token = create_token(real.state_dir, "phone", "viewer", time.time())
    await compare(real, lambda route: None if route.public or route.role == "viewer" else (403, "role"), bearer(token))


async def token_in_the_url(real: Real) -> None:
    wrong = []
    for method, path, route in endpoints(real):
        status, code = await real.ask(method, f"{path}?token={real.token}", {})
        wanted = (400, "invalid_query") if route.public else (401, "token_in_url")
        if (status, code) != (wanted[0], "" if method == "HEAD" else wanted[1]):
            wrong.append(f"{method} {path}: {status} {code}")
    assert not wrong, "\n".join(wrong)


async def foreign_host(real: Real) -> None:
    for host in ("evil.example", "localhost.evil.example"):
        await compare(real, always(403, "host"), {**bearer(real.token), "Host": host})


async def foreign_origin(real: Real) -> None:
    for origin in ("https://evil.example", "http://localhost:1"):
        await compare(real, always(403, "origin"), {**bearer(real.token), "Origin": origin})


async def null_origin(real: Real) -> None:
    await compare(real, always(403, "origin"), {**bearer(real.token), "Origin": "null"})


async def form_content_type(real: Real) -> None:
    kinds = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain")
    for kind in kinds:
        headers = {**bearer(real.token), "Content-Type": kind}
        await compare(real, always(415, "unsupported_media_type"), headers, data=b"config_path=/etc/passwd")


COLUMNS = [
    no_token, wrong_token, revoked_token, expired_token, viewer_token, token_in_the_url, foreign_host, foreign_origin, null_origin,
    form_content_type,
]  # fmt: skip


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.__name__)
async def test_every_route_refuses(begin: Begin, column: Callable[[Real], Awaitable[None]]) -> None:
    await column(await begin())


@pytest.mark.parametrize("column", [foreign_host, foreign_origin, null_origin, form_content_type], ids=lambda column: column.__name__)
async def test_every_route_refuses_also_where_no_token_is_asked_for(begin: Begin, column: Callable[[Real], Awaitable[None]]) -> None:
    real = await begin(auth="none")
    (real.state_dir / "token").write_text("no one asks for it")
    await column(real)


async def test_a_method_or_path_that_is_not_there_is_a_401_to_strangers_everywhere(begin: Begin) -> None:
    real = await begin()
    paths = {path for _, path, _ in endpoints(real)}
    for path in [*sorted(paths), "/", "/api", "/nowhere", "/.git/config"]:
        for method in ("PATCH", "OPTIONS", "TRACE", "PROPFIND"):
            assert await real.ask(method, path, {}) == (401, "no_token"), (method, path)


async def test_every_answer_to_an_allowed_page_may_be_read_by_it_and_no_other_may(begin: Begin) -> None:
    real = await begin(http={"allowed_origins": [DASH]})
    for method, path, _ in endpoints(real):
        for headers in ({"Origin": DASH}, {"Origin": DASH, "Host": "evil.example"}, {"Origin": "https://evil.example"}, {}):
            async with real.session.request(method, f"{real.url}{path}", headers=headers) as response:
                allowed = response.headers.get("Access-Control-Allow-Origin")
            assert allowed == (headers.get("Origin") if headers.get("Origin") == DASH else None)
            assert "Origin" in response.headers["Vary"].split(", ")


HANDSHAKES: dict[str, tuple[dict[str, str], Refusal | None]] = {
    "no token": ({}, (401, "no_token")),
    "wrong token": (bearer("w" * 43), (401, "bad_token")),
    "wrong subprotocol": ({"Sec-WebSocket-Protocol": "onetrainerd, onetrainerd.token.wrong"}, (401, "bad_token")),
    "revoked": (bearer("REVOKED"), (401, "bad_token")),
    "foreign host": ({**bearer("ADMIN"), "Host": "evil.example"}, (403, "host")),
    "foreign origin": ({**bearer("ADMIN"), "Origin": "https://evil.example"}, (403, "origin")),
    "null origin": ({**bearer("ADMIN"), "Origin": "null"}, (403, "origin")),
    "form": ({**bearer("ADMIN"), **FORM}, (415, "unsupported_media_type")),
    "viewer": (bearer("VIEWER"), None),
    "viewer by subprotocol": ({"Sec-WebSocket-Protocol": "onetrainerd, onetrainerd.token.VIEWER"}, None),
    "admin": (bearer("ADMIN"), None),
}


@pytest.mark.parametrize("path", ["/ws", "/api/ws"])
async def test_every_websocket_handshake_is_judged_like_a_call(begin: Begin, path: str) -> None:
    real = await begin()
    revoked = create_token(real.state_dir, "gone", "admin", time.time())
    revoke_token(real.state_dir, "gone")
    words = {"ADMIN": real.token, "VIEWER": create_token(real.state_dir, "phone", "viewer", time.time()), "REVOKED": revoked}
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    for name, (given, expected) in HANDSHAKES.items():
        headers = {key: re.sub("|".join(words), lambda word: words[word[0]], value) for key, value in given.items()}
        if expected is None:
            protocols = [one.strip() for one in headers.pop("Sec-WebSocket-Protocol", "onetrainerd").split(",")]
            async with real.session.ws_connect(f"{real.url}{path}", headers=headers, protocols=protocols) as socket:
                assert (await socket.receive_json())["type"] == "connected", name
                assert socket.protocol == "onetrainerd"
        else:
            data = b"a=b" if name == "form" else None
            asked = {**upgrade, "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", **headers}
            assert await real.ask("GET", path, asked, data=data) == expected, name


async def test_a_socket_of_a_viewer_that_is_revoked_ends_and_one_of_an_admin_stays(begin: Begin) -> None:
    real = await begin()
    phone = create_token(real.state_dir, "phone", "viewer", time.time())
    async with (
        real.session.ws_connect(f"{real.url}/ws", headers=bearer(phone)) as mine,
        real.session.ws_connect(f"{real.url}/ws", headers=bearer(real.token)) as other,
    ):
        assert (await mine.receive_json())["type"] == (await other.receive_json())["type"] == "connected"
        revoke_token(real.state_dir, "phone")
        end = await mine.receive(timeout=30)
        assert (end.type, end.data) == (aiohttp.WSMsgType.CLOSE, 1008)
        await other.send_str("ping")
        assert await other.receive_json() == {"type": "pong"}
