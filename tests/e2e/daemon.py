"""A real daemon process, its HTTP and its WebSocket, as a client meets them."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from daemon.supervisor.adoption import identities
from ipc.process import ProcessIdentity
from ipc.run_directory import AttemptDirectory, RunDirectory

DEADLINE_S = 60.0
Json = dict[str, Any]
Message = dict[str, Any]


class Daemon:
    """`onetrainerd serve` on any free port, with *folder* as its working directory and `folder/state` as its state."""

    def __init__(self, folder: Path, *flags: str, environment: Mapping[str, str] | None = None) -> None:
        """*environment* is on top of our own."""
        self._environment = {**os.environ, **(environment or {})}
        self.folder = folder
        self.state_dir = folder / "state"
        self._flags = flags
        self.process: asyncio.subprocess.Process
        self.client: aiohttp.ClientSession
        self.url = ""

    async def start(self) -> None:
        with (self.folder / "daemon.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "daemon.cli.main", "serve", "--state-dir", str(self.state_dir), "--port", "0", *self._flags,
                cwd=self.folder, env=self._environment, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            line = (await self.process.stdout.readline()).decode()
        assert " on http://" in line, self.log()
        self.url = line.split(" on ")[1].split()[0]
        token = (self.state_dir / "token").read_text().strip() if (self.state_dir / "token").exists() else ""
        self.client = aiohttp.ClientSession(self.url, headers={"Authorization": f"Bearer {token}"})

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def _end(self, number: int) -> int:
        await self.client.close()
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(DEADLINE_S):
            return await self.process.wait()

    def log(self) -> str:
        return (self.folder / "daemon.log").read_text()

    async def call(self, method: str, path: str, body: object = None, status: int = 200) -> Json:
        """The answer's JSON; its status must be *status*."""
        async with self.client.request(method, path, json=body) as answer:
            text = await answer.text()
            assert answer.status == status, f"{method} {path} answered {answer.status}: {text}"
            found: Json = json.loads(text)
            return found

    async def get(self, path: str, status: int = 200) -> Json:
        return await self.call("GET", path, status=status)

    async def post(self, path: str, body: object = None, status: int = 200) -> Json:
        return await self.call("POST", path, {} if body is None else body, status)

    @contextlib.asynccontextmanager
    async def listen(self, cursor: str | None = None) -> AsyncIterator["Listener"]:
        async with self.client.ws_connect("/ws" + (f"?cursor={cursor}" if cursor else ""), max_msg_size=0) as socket:
            yield Listener(socket)

    def attempt(self, run_id: str, number: int = 1) -> AttemptDirectory:
        return RunDirectory(self.state_dir / "runs" / run_id).attempt(number)

    def process_of(self, run_id: str, who: str, attempt: int = 1) -> ProcessIdentity:
        found = identities(self.attempt(run_id, attempt))[("runner", "trainer").index(who)]
        assert found is not None
        return found

    def kill_trainings(self) -> None:
        for run in (self.state_dir / "runs").glob("0*"):
            for attempt in RunDirectory(run).attempts():
                for identity in filter(None, identities(attempt)):
                    identity.send_signal(signal.SIGKILL)


class Listener:
    """A client of `/ws` that remembers all it heard."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.heard: list[Message] = []

    async def wait(self, kind: str, condition: Callable[[Any], bool] = lambda _: True) -> Any:
        """The data of the first message of *kind* that *condition* holds for, among those heard or to come."""
        seen = 0
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for message in self.heard[seen:]:
                    if message["type"] == kind and condition(message.get("data")):
                        return message.get("data")
                seen = len(self.heard)
                self.heard.append(await self.socket.receive_json())

    async def wait_status(self, *statuses: str) -> Any:
        return await self.wait("training_state", lambda data: data["status"] in statuses)

    async def wait_step(self, at_least: int) -> Any:
        return await self.wait("progress", lambda data: data["global_step"] >= at_least)

    @property
    def cursor(self) -> str:
        return str(self.heard[-1]["cursor"])
