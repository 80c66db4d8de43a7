"""What a scrape of /metrics costs with a thousand ended runs, and what it costs everybody else: `make bench`."""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp
from aiohttp import web

from daemon.api.keys import SUPERVISOR
from daemon.api.server import ApiRunner
from daemon.app import build_app
from daemon.settings.model import Settings
from daemon.supervisor.store import RunSpec, RunStore
from ipc.journal import JournalWriter

RUNS, SCRAPES = 1000, 100


def make_runs(state_dir: Path) -> None:
    store = RunStore(state_dir)
    for _ in range(RUNS):
        stored = store.create(RunSpec("builtin", {}), time.time())
        journal = JournalWriter(stored.directory.daemon)
        journal.append({"type": "run.cancelled", "after": [0, 0]})
        journal.close()


async def measure(state_dir: Path) -> tuple[list[float], list[float], int]:
    """Seconds of each scrape, by how much the loop was late meanwhile, and the size of an answer."""
    app = build_app(Settings(state_dir=state_dir, backend="builtin", auth="none"))
    runner = ApiRunner(app)
    await runner.setup()
    await app[SUPERVISOR].wait_adopted()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    took: list[float] = []
    late: list[float] = []

    async def beat() -> None:
        while True:
            due = time.perf_counter() + 0.001
            await asyncio.sleep(0.001)
            late.append(time.perf_counter() - due)

    url, size = f"http://127.0.0.1:{runner.addresses[0][1]}/metrics", 0
    async with aiohttp.ClientSession() as session:
        beating = asyncio.create_task(beat())
        for _ in range(SCRAPES):
            begun = time.perf_counter()
            async with session.get(url) as answer:
                size = len(await answer.read())
            took.append(time.perf_counter() - begun)
        beating.cancel()
    await runner.cleanup()
    return took, late, size


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        state_dir = Path(folder)
        make_runs(state_dir)
        took, late, size = asyncio.run(measure(state_dir))
    print(f"scrape with {RUNS} runs, {size} bytes: median {statistics.median(took) * 1e3:.1f} ms, slowest {max(took) * 1e3:.1f} ms")
    print(f"the event loop meanwhile: late by {statistics.median(late) * 1e3:.2f} ms in the median, {max(late) * 1e3:.1f} ms at worst")


if __name__ == "__main__":
    main()
