"""Ten thousand samples at once, in every way that files come to be."""

import asyncio
import contextlib
import json
import random
import struct
import sys
import time
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.torture.ground import FOREVER, ROOT, Ground, StormDaemon, check_gone, ground, times
from tests.torture.report import Report

_WRITER = ROOT / "tests" / "torture" / "sample_writer.py"


@dataclass
class Watched:
    """What a client saw that looked all the while."""

    served: int = 0
    halves: list[str] = field(default_factory=list)
    answers_s: list[float] = field(default_factory=list)


async def flood(folder: Path, scale: float, rng: random.Random, report: Report) -> None:
    """The writer is a process of its own; a client lists and fetches while it writes."""
    count = times(10_000, scale, 300)
    async with ground(folder) as place:
        daemon = await place.daemon()
        config = place.config({"step_s": 0.2}, **FOREVER)
        samples_dir = config.with_suffix("") / "samples"
        samples_dir.mkdir(parents=True)  # so that the watcher is there from the start
        run_id = await daemon.begin(config)
        await daemon.wait_step(run_id, 1)
        async with _looking(daemon) as watched:
            began = time.monotonic()
            writer = await asyncio.create_subprocess_exec(
                sys.executable, str(_WRITER), str(samples_dir), str(count), str(rng.random()), stdout=asyncio.subprocess.PIPE
            )
            told = json.loads((await writer.communicate())[0])
            written = time.monotonic()
            whole, torn = set(told["whole"]), set(told["torn"])
            listed: set[str] = set()
            while listed != whole and time.monotonic() - written < 60:
                listed = {sample["id"] for sample in (await daemon.get("/samples?limit=10000"))["samples"]}
            took = time.monotonic() - written
        report.show("written", f"{count} in {written - began:.1f} s, {len(whole)} of them whole")
        report.exactly("whole ones not listed", len(whole - listed), 0)
        report.exactly("torn ones listed", len(torn & listed), 0)
        report.seconds("all listed after the last was written", [took], 1.0, 10.0)
        report.show("fetched meanwhile", watched.served)
        report.exactly("half ones served", watched.halves[:3], [])
        report.seconds("/health meanwhile", watched.answers_s)
        await _check_history(place, daemon, run_id, len(whole), report)
        await check_gone(place, report)


async def _check_history(place: Ground, daemon: StormDaemon, run_id: str, whole: int, report: Report) -> None:
    """Each whole one is announced once, also over the daemon's death."""
    began = time.monotonic()
    await daemon.wait_run(run_id, lambda run: run.get("samples", whole) >= whole, 60)
    report.show("all announced after another, s", f"{time.monotonic() - began:.1f}")
    await daemon.kill()
    daemon = await place.daemon()
    await asyncio.sleep(3)
    await daemon.post(f"/runs/{run_id}/stop")
    await daemon.wait_ended(run_id)
    announced: list[str] = []
    since = ""
    while True:
        page = await daemon.get(f"/runs/{run_id}/events?limit=512" + (f"&since={since}" if since else ""))
        announced += [event["sample"]["id"] for event in page["events"] if event["type"] == "sample.found"]
        since = page["next"]
        if not page["events"]:
            break
    report.exactly("announced twice", len(announced) - len(set(announced)), 0)
    report.exactly("announced", len(set(announced)), whole)


@contextlib.asynccontextmanager
async def _looking(daemon: StormDaemon) -> AsyncIterator[Watched]:
    watched = Watched()

    async def fetch() -> None:
        while True:
            for sample in (await daemon.get("/samples?limit=20"))["samples"]:
                async with daemon.client.get(f"/samples/{sample['id']}") as answer:
                    data = await answer.read()
                    watched.served += answer.status == 200
                    if answer.status == 200 and not _is_whole_png(data):
                        watched.halves.append(sample["filename"])
            await asyncio.sleep(0.01)

    async def ask() -> None:
        while True:
            began = time.monotonic()
            with contextlib.suppress(aiohttp.ClientError):
                await daemon.get("/health")
            watched.answers_s.append(time.monotonic() - began)
            await asyncio.sleep(0.05)

    tasks = [asyncio.create_task(fetch()), asyncio.create_task(ask())]
    try:
        yield watched
    finally:
        failed = [task.exception() for task in tasks if task.done() and not task.cancelled()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if failed:
            raise AssertionError(f"the client that looked on came to grief: {failed}")


def _is_whole_png(data: bytes) -> bool:
    """Chunk by chunk, with their checksums."""
    at, kind = 8, b""
    while at + 12 <= len(data) and kind != b"IEND":
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 8 + size
        if data[end : end + 4] != struct.pack(">I", zlib.crc32(data[at + 4 : end])):
            return False
        at = end + 4
    return data.startswith(b"\x89PNG\r\n\x1a\n") and kind == b"IEND" and at == len(data)
