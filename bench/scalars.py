"""What a chart of a long run costs: a million steps answered out of the store, against reading the journal, side by side.

A run of a million steps with OneTrainer's four scalars is written as the runner would journal it; a real daemon adopts it, fills the store
and is asked over HTTP. The naive way reads the journal with the fastest JSON parser there is and thins out alike. They take turns, so that
a noisy machine hits both. Prints a table; the ratio is what counts.
"""

import asyncio
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import orjson

from daemon.scalars.rows import Columns, columns_of
from daemon.scalars.store import Chunk
from daemon.scalars.thinning import thin
from daemon.supervisor.store import RunSpec, RunStore
from ipc.journal import JournalReader, JournalWriter
from ipc.run_directory import RunDirectory
from tests.e2e.daemon import Daemon

STEPS = int(os.environ.get("BENCH_STEPS", "1000000"))
ROUNDS = 5
LOSS = "loss/train_step"


def write_run(state_dir: Path) -> RunDirectory:
    """An ended run of STEPS steps; eight of them an event, as a trainer puts them together when they come fast."""
    stored = RunStore(state_dir).create(RunSpec("builtin", {}), 1.0)
    attempt = stored.directory.attempt(1)
    attempt.create()
    journal = JournalWriter(attempt.events)
    for first in range(1, STEPS + 1, 8):
        rows = [
            {
                "ts": round(1.7e9 + step * 0.25, 4), "global_step": step, "epoch": 0, "epoch_step": step, "epoch_sample": step,
                "max_step": STEPS, "max_epoch": 1, "elapsed_s": step * 0.25, "steps_per_second": 4.0,
                "scalars": {
                    LOSS: 0.1 + 0.05 * math.sin(step * 12.9898) + (5.0 if step % 333_333 == 0 else 0.0),
                    "smooth_loss/train_step": 0.1 + 1 / step, "lr/unet": 1e-4, "ema_decay": 0.999,
                },
            }
            for step in range(first, min(first + 8, STEPS + 1))
        ]  # fmt: skip
        journal.append({"type": "steps", "rows": rows})
    journal.close()
    own = JournalWriter(stored.directory.daemon)
    own.append({"type": "run.starting", "after": [0, 0], "attempt": 1, "continue_from": None})
    own.append({"type": "run.settled", "after": [1, journal.seq], "attempt": 1, "state": "completed", "cause": "completed"})
    own.close()
    return stored.directory


async def naive(directory: RunDirectory, tags: list[str]) -> int:
    def read() -> int:
        found: dict[str, Columns] = {}
        reader = JournalReader(directory.attempt(1).events, loads=orjson.loads)
        while records := reader.read(1 << 20):
            for tag, columns in columns_of(records).items():
                found.setdefault(tag, Columns()).extend(columns)
        reader.close()
        thinned = {tag: thin([Chunk(found[tag].to_bytes(), 0, len(found[tag]))], 1000) for tag in tags}
        return len(json.dumps([one.values.tolist() for one in thinned.values()]))

    return await asyncio.to_thread(read)


async def asked(client: aiohttp.ClientSession, question: str) -> bytes:
    async with client.get(question) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = write_run(Path(folder) / "state")
        daemon = Daemon(Path(folder))
        began = time.perf_counter()
        await daemon.start()
        path = f"/runs/{directory.run_id}/metrics"
        try:
            while not orjson.loads(await asked(daemon.client, f"{path}/tags"))["is_complete"]:  # noqa: ASYNC110 - a client polls
                await asyncio.sleep(0.1)
            print(f"filled from the journal in {time.perf_counter() - began:.1f} s, the daemon's start included")
            cold = await timed(lambda: asked(daemon.client, f"{path}?tags={LOSS}"))
            cursor = orjson.loads(await asked(daemon.client, f"{path}?tags={LOSS}"))["next"]
            ways: dict[str, Callable[[], Awaitable[object]]] = {
                "one tag, 1000 points": lambda: asked(daemon.client, f"{path}?tags={LOSS}"),
                "all four tags": lambda: asked(daemon.client, path),
                "a tenth of it (zoomed in)": lambda: asked(daemon.client, f"{path}?tags={LOSS}&since={STEPS // 2}&until={STEPS * 6 // 10}"),
                "a live chart's poll": lambda: asked(daemon.client, f"{path}?tags={LOSS}&since={cursor}"),
                "reading the journal": lambda: naive(directory, [LOSS]),
            }
            found: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(ROUNDS):
                for name, way in ways.items():
                    found[name].append(await timed(way))
            base = statistics.median(found["reading the journal"])
            print(f"| {STEPS} steps | median of {ROUNDS} | to reading the journal |\n|---|---|---|")
            print(f"| one tag, the helper process not yet there | {cold * 1000:.0f} ms | 1/{base / cold:.0f} |")
            for name, times in found.items():
                median = statistics.median(times)
                print(f"| {name} | {median * 1000:.0f} ms | 1/{base / median:.0f} |")
            status = Path(f"/proc/{daemon.process.pid}/status").read_text()
            print(next(line for line in status.splitlines() if line.startswith("VmHWM")), file=sys.stderr)
            print(f"store {directory.scalars.stat().st_size >> 20} MB", file=sys.stderr)
        finally:
            await daemon.stop()


if __name__ == "__main__":
    asyncio.run(main())
