"""A client of `/ws` that comes back by its cursor, whatever becomes of the daemon."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import aiohttp

from tests.e2e.daemon import Json
from tests.torture.ground import Ground


class Follower:
    """Hears all that comes after *cursor* (None: after its first connection), over any number of connections."""

    def __init__(self, ground: Ground, cursor: str | None = None) -> None:
        self._ground = ground
        self.first = self.cursor = cursor
        self.heard: list[Json] = []
        self.connections = 0
        self._news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator["Follower"]:
        task = asyncio.create_task(self._follow())
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def wait_news(self) -> None:
        """Until something has come since the last call began."""
        await self._news.wait()
        self._news.clear()

    async def wait_quiet(self, quiet_s: float = 1.5, deadline_s: float = 60.0) -> None:
        """Until nothing has come for *quiet_s*."""
        async with asyncio.timeout(deadline_s):
            while True:
                self._news.clear()
                try:
                    async with asyncio.timeout(quiet_s):
                        await self._news.wait()
                except TimeoutError:
                    return

    def told(self) -> list[tuple[str, str, str]]:
        """What it heard, as far as two clients must hear the same."""
        return [(message["run_id"], message["type"], json.dumps(message["data"], sort_keys=True)) for message in self.heard]

    async def _follow(self) -> None:
        while True:
            try:
                async with self._ground.session(f"http://127.0.0.1:{self._ground.port}") as session:
                    await self._listen(session)
            except (aiohttp.ClientError, OSError):
                pass
            await asyncio.sleep(0.01)

    async def _listen(self, session: aiohttp.ClientSession) -> None:
        async with session.ws_connect("/ws", params={"cursor": self.cursor} if self.cursor else {}, max_msg_size=0) as socket:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                self._take(json.loads(message.data))

    def _take(self, message: Json) -> None:
        if message["type"] == "connected":
            self.connections += 1
            self.first = self.first or message["cursor"]
        else:
            self.heard.append(message)
            self._news.set()
        self.cursor = message["cursor"]


def steps_heard(follower: Follower, run_id: str) -> list[int]:
    return [item["data"]["global_step"] for item in follower.heard if item["run_id"] == run_id and item["type"] == "progress"]
