"""The real application, all of its parts in it, on a real port."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from daemon.api.server import ApiRunner
from daemon.app import build_app
from daemon.settings.model import Settings

UNLIMITED = {"failed_logins_per_minute": 0, "calls_per_s": 0.0}


class Real:
    """The application while it serves."""

    def __init__(
        self, app: web.Application, end: Callable[[], Awaitable[None]], session: aiohttp.ClientSession, port: int, state_dir: Path
    ) -> None:
        self.app = app
        self.end = end
        self.session = session
        self.url = URL(f"http://127.0.0.1:{port}")
        self.state_dir = state_dir

    @property
    def token(self) -> str:
        return (self.state_dir / "token").read_text().strip()

    async def ask(self, method: str, path: str, headers: dict[str, str], **options: Any) -> tuple[int, str]:
        """The status, and the code of an error."""
        async with self.session.request(method, URL(f"{self.url}{path}", encoded=True), headers=headers, **options) as response:
            is_problem = response.content_type == "application/json" and response.status >= 400 and method != "HEAD"
            return response.status, (await response.json())["details"]["code"] if is_problem else ""


Begin = Callable[..., Awaitable[Real]]


@pytest.fixture
async def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Begin]:
    """Start it with these settings; it ends with the test."""
    monkeypatch.chdir(tmp_path)
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> Real:
            state_dir = tmp_path / "state"
            state_dir.mkdir(exist_ok=True)
            app = build_app(Settings(**{"state_dir": state_dir, "backend": "builtin", "limits": UNLIMITED, **settings}))
            runner = ApiRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return Real(app, runner.cleanup, session, runner.addresses[0][1], state_dir)

        yield start
