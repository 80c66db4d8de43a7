"""A real server on a real port, with routes that only try the frame out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest
from aiohttp import web
from pydantic import Field
from yarl import URL

from daemon.access.token_book import TokenBook
from daemon.api.frame import make_app
from daemon.api.models.common import NoBody, NoQuery, QueryModel, RequestModel, ResponseModel, Success
from daemon.api.registry import Call, Route
from daemon.api.server import ApiRunner
from daemon.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, UnavailableError, UnsupportedError
from daemon.settings.model import Settings

TOKEN = "t" * 43
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Inner(RequestModel):
    number: float = 0.0


class Order(RequestModel):
    name: str
    count: int = Field(1, ge=1, le=9)
    flag: bool = False
    inner: Inner = Inner()
    anything: dict[str, Any] = Field({})


class Loose(RequestModel):
    note: str = "none"


class Page(QueryModel):
    limit: int = Field(20, ge=1, le=100)
    order: Literal["up", "down"] = "up"


class Echo(ResponseModel):
    got: dict[str, Any]


async def order(call: Call[Order, NoQuery]) -> Echo:
    return Echo(got=call.body.model_dump())


async def loose(call: Call[Loose, NoQuery]) -> Success:
    return Success(message=call.body.note)


async def page(call: Call[NoBody, Page]) -> Echo:
    return Echo(got=call.query.model_dump())


async def thing(call: Call[NoBody, NoQuery]) -> Echo:
    return Echo(got=dict(call.path))


async def remove(call: Call[NoBody, NoQuery]) -> Echo:
    return Echo(got=dict(call.path))


async def health(call: Call[NoBody, NoQuery]) -> Success:
    return Success(message="healthy")


async def fail(call: Call[NoBody, NoQuery]) -> Success:
    """Raise what the path says."""
    errors: dict[str, Exception] = {
        "invalid": InvalidError("bad", key="epochs"),
        "forbidden": ForbiddenError("no", code="outside_roots"),
        "missing": NotFoundError("none"),
        "conflict": ConflictError("busy", code="run_active"),
        "unsupported": UnsupportedError("cannot"),
        "unavailable": UnavailableError("disk full"),
        "not-utf8": NotFoundError("no \udcff here", path="\udcff"),
        "fault": KeyError("the secret of the traceback"),
        "timeout": TimeoutError(),
        "pipe": BrokenPipeError("a pipe to a runner"),
        "teapot": web.HTTPMisdirectedRequest(text="not here"),
        "many": web.HTTPTooManyRequests(),
        "gateway": web.HTTPBadGateway(),
        "found": web.HTTPFound("/health"),
    }
    raise errors[call.path["how"]]


async def late(call: Call[NoBody, NoQuery]) -> web.StreamResponse:
    """Fail when the answer has begun."""
    response = web.StreamResponse()
    await response.prepare(call.request)
    await response.write(b"the beginning")
    raise KeyError("too late")


async def stuck(call: Call[NoBody, NoQuery]) -> Success:
    await asyncio.sleep(3600)
    raise AssertionError("unreachable")


async def socket(call: Call[NoBody, NoQuery]) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(protocols=("onetrainerd",))
    await ws.prepare(call.request)
    await ws.send_str("hello")
    await ws.close()
    return ws


DEMO = [
    Route("POST", "/order", order, "Order something", "demo", errors=(ConflictError,), seed=True),
    Route("POST", "/loose", loose, "Needs nothing", "demo"),
    Route("GET", "/page", page, "Page", "demo", seed=True),
    Route("GET", "/things/{name}", thing, "Show a thing", "demo", errors=(NotFoundError,)),
    Route("DELETE", "/things/{name}", remove, "Delete a thing", "demo"),
    Route("GET", "/health", health, "Health", "demo", public=True),
    Route("POST", "/fail/{how}", fail, "Fail", "demo", errors=(UnsupportedError,)),
    Route("GET", "/late", late, "Fail late", "demo"),
    Route("GET", "/stuck", stuck, "Hang", "demo"),
    Route("GET", "/ws", socket, "Listen", "demo"),
]


class Server:
    """A client of a running server, and its raw port."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self.session = session
        self.port = port
        self.url = URL(f"http://127.0.0.1:{port}")

    def call(self, method: str, path: str, **options: Any) -> Any:
        headers = {**BEARER, **options.pop("headers", {})}
        return self.session.request(method, URL(f"{self.url}{path}", encoded=True), headers=headers, **options)

    async def raw(self, data: bytes, *, at_once: bool = False) -> bytes:
        """What comes back for *data* until the server closes; *at_once*: in the first packet."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            await writer.drain()
            async with asyncio.timeout(20):
                return await reader.read(1 << 16 if at_once else -1)
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


Serve = Callable[..., Awaitable[Server]]


def book_of(folder: Path) -> TokenBook:
    """The tokens of a state directory *folder* whose first token is TOKEN."""
    (folder / "token").touch(0o600)
    (folder / "token").write_text(TOKEN)
    return TokenBook(folder)


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Start servers; they end with the test. *token* None: they ask for none. Their state directory is `tmp_path`."""
    async with AsyncExitStack() as stack:

        async def start(
            routes: list[Route] | None = None, token: str | None = TOKEN, app: web.Application | None = None, **settings: Any
        ) -> Server:
            book = None if token is None else book_of(tmp_path)
            made = app or make_app(Settings(state_dir=tmp_path, **settings), book, DEMO if routes is None else routes)
            runner = ApiRunner(made, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return Server(session, runner.addresses[0][1])

        yield start


@pytest.fixture
async def server(serve: Serve) -> Server:
    return await serve()
