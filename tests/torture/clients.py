"""Clients of `/ws`: one that does not read beside many that do, and one that comes back a thousand times."""

import asyncio
import base64
import contextlib
import json
import os
import random
import select
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp

from daemon.runs.spot import Cursor
from tests.torture.follower import Follower
from tests.torture.ground import FOREVER, StormDaemon, check_gone, ground, memory_kb, times
from tests.torture.past import make_run
from tests.torture.report import Report

_GOOD = 50
_DROPPED_S = 15.0


async def stalled_client(folder: Path, scale: float, rng: random.Random, report: Report) -> None:
    """It asks for a long history and reads none of it, again and again; fifty others hear the training live meanwhile."""
    rounds = times(4, scale)
    async with ground(folder, places=2) as place:
        make_run(place.state_dir / "runs" / "000001-aaaa", 20_000)
        beginning = Cursor().encode()
        daemon = await place.daemon()
        config = place.config({"step_s": 0.05, "times": True}, **FOREVER)
        run_id = await daemon.begin(config)
        await daemon.wait_step(run_id, 1)
        dropped: list[float] = []
        async with _good_ones(daemon, times(_GOOD, scale, 10)) as late:
            await asyncio.sleep(2)
            before = most = memory_kb(daemon.process.pid)
            for _ in range(rounds):
                with _stall(place.port, (place.state_dir / "token").read_text().strip(), beginning) as stalled:
                    began = time.monotonic()
                    while not _is_cut_off(stalled) and time.monotonic() - began < 2 * _DROPPED_S:
                        most = max(most, memory_kb(daemon.process.pid))
                        await asyncio.sleep(0.05)
                    dropped.append(time.monotonic() - began)
        told_at = dict(line.split() for line in config.with_suffix(".times").read_text().splitlines())
        delays = [heard - float(told_at[str(step)]) for step, heard in late if str(step) in told_at]
        await daemon.post(f"/runs/{run_id}/stop")
        await daemon.wait_ended(run_id)
        report.show("good clients", times(_GOOD, scale, 10))
        report.seconds("stalled client dropped after", dropped, 1.0, _DROPPED_S)
        report.at_most("stalled client dropped after", max(dropped), 2 * _DROPPED_S - 1, " s")
        report.seconds("from a step to the other clients", delays, 0.99, 0.25)
        report.at_most("daemon grew by", max(0, most - before) / 1024, 20, " MiB")
        await check_gone(place, report)


@contextlib.asynccontextmanager
async def _good_ones(daemon: StormDaemon, count: int) -> AsyncIterator[list[tuple[int, float]]]:
    """They note when they heard of each step."""
    heard: list[tuple[int, float]] = []

    async def listen() -> None:
        async with daemon.client.ws_connect("/ws", max_msg_size=0) as socket:
            async for message in socket:
                now = time.time()
                if message.type is aiohttp.WSMsgType.TEXT and '"progress"' in message.data[:40]:
                    heard.append((json.loads(message.data)["data"]["global_step"], now))

    tasks = [asyncio.create_task(listen()) for _ in range(count)]
    try:
        yield heard
    finally:
        lost = sum(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if lost:
            raise AssertionError(f"{lost} good clients were cut off")


@contextlib.contextmanager
def _stall(port: int, token: str, cursor: str) -> Iterator[socket.socket]:
    """A client that asks for all since *cursor*, and reads nothing; its own buffer is small."""
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            f"GET /ws?cursor={cursor} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Authorization: Bearer {token}", "Connection: Upgrade",
            "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "", "",
        )  # fmt: skip
        stalled.sendall("\r\n".join(lines).encode())
        yield stalled


def _is_cut_off(stalled: socket.socket) -> bool:
    poll = select.poll()
    poll.register(stalled, select.POLLERR | select.POLLHUP)
    return bool(poll.poll(0))


async def reconnects(folder: Path, scale: float, rng: random.Random, report: Report) -> None:
    """Half of them to a live training; a daemon dies now and then on the way."""
    count = times(1000, scale, 20)
    async with ground(folder, places=2) as place:
        daemon = await place.daemon()
        async with Follower(place).following() as follower:
            await asyncio.sleep(0.3)
            done = await daemon.queue(place.config({"step_s": 0.002}, epochs=60, sample_after=10, sample_after_unit="STEP"))
            await daemon.wait_ended(done)
            live = await daemon.begin(place.config({"step_s": 0.1}, **FOREVER))
            await daemon.wait_step(live, 1)
            wrong = 0
            read = 0
            for number in range(count):
                if number % max(10, count // 5) == 5:
                    await daemon.kill()
                    daemon = await place.daemon()
                    await daemon.wait_step(live, 1)
                if number == count // 2:
                    await daemon.post(f"/runs/{live}/stop")
                    await daemon.wait_ended(live)
                known = list(follower.heard)
                start = rng.randrange(len(known) - 1)
                upto = min(len(known), start + 1 + rng.randint(1, 60))
                heard = await _hear(daemon, known[start]["cursor"], upto - start - 1)
                wrong += heard != [(item["run_id"], item["type"], item["data"], item["cursor"]) for item in known[start + 1 : upto]]
                read += len(heard)
        report.show("reconnects", count)
        report.show("messages read again", read)
        report.exactly("of them inexact", wrong, 0)
        await check_gone(place, report)


async def _hear(daemon: StormDaemon, cursor: str, count: int) -> list[tuple[str, str, object, str]]:
    heard: list[tuple[str, str, object, str]] = []
    async with asyncio.timeout(20), daemon.client.ws_connect("/ws", params={"cursor": cursor}, max_msg_size=0) as socket:
        await socket.receive_json()
        while len(heard) < count:
            item = await socket.receive_json()
            heard.append((item["run_id"], item["type"], item["data"], item["cursor"]))
    return heard
