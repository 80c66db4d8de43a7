"""The runner dies at each write, rename and spawn of its own, from its start to its exit record."""

import asyncio
import contextlib
import itertools
import json
import random
from pathlib import Path

import aiohttp

from tests.e2e.daemon import Json
from tests.torture.ground import Ground, StormDaemon, ground, has_ended, starts_of, times
from tests.torture.report import Report

_AT_ONCE = 2


async def every_point(folder: Path, scale: float, rng: random.Random, report: Report) -> None:
    """All points up to the first steps and from the stop on at scale 1, else a choice of them."""
    async with ground(folder / "count") as place:
        await _one(place, {})
        points = [line.split(maxsplit=2)[1:] for line in (place.folder / "points").read_text().splitlines()]
    faults = [(number, mode) for number, (name, *_) in enumerate(points, 1) for mode in ("before", "after")[: 1 + (name == "spawn")]]
    chosen = faults if scale >= 1 else rng.sample(faults, min(len(faults), times(len(faults), scale)))
    # In every form: the trainer is there, and nobody has written down who it is.
    chosen += [fault for fault in faults if fault[1] == "after" and fault not in chosen]
    report.show("points from start to end", len(points))
    report.show("deaths tried", len(chosen))
    slots = asyncio.Semaphore(_AT_ONCE)

    async def attempt(number: int, mode: str) -> list[str]:
        async with slots, ground(folder / f"{number}-{mode}") as place:
            return [
                f"{wrong} [{mode} {number} {' '.join(points[number - 1])}]" for wrong in await _one(place, {"at": number, "mode": mode})
            ]

    wrongs = list(itertools.chain(*await asyncio.gather(*itertools.starmap(attempt, chosen))))
    for kind in ("beside", "lie", "trouble", "left over"):
        report.exactly(f"{kind}s", sum(wrong.startswith(kind) for wrong in wrongs), 0)
    report.failures += wrongs[:8]


async def _one(place: Ground, plan: Json) -> list[str]:
    """A training whose runner dies, or not, and a second one after it whose runner does not; what was wrong."""
    path = place.folder / "runner.plan.json"
    path.write_text(json.dumps({**plan, "count_to": str(place.folder / "points")}))
    daemon = await place.daemon({"runner": str(path)})
    config = place.config({"step_s": 0.3}, epochs=100_000)
    wrongs: list[str] = []
    try:
        async with daemon.client.post("/training/start", json={"config_path": str(config)}) as answer:
            started = answer.status
        run_id = str((await daemon.get("/runs"))["runs"][0]["id"])
        run = await daemon.wait_run(run_id, lambda run: has_ended(run) or bool(run["progress"]))
        if not has_ended(run):
            with contextlib.suppress(AssertionError):  # it may die just now
                await daemon.post("/training/stop")
            run = await daemon.wait_ended(run_id)
        wrongs += _lies(place, run, started)
        path.write_text("{}")
        wrongs += await _start_another(place, daemon, run_id)
        run = await daemon.get(f"/runs/{run_id}")
        if len(starts_of(config)) > 1:
            wrongs.append(f"beside: {len(starts_of(config))} trainers of one attempt")
        if _trainers(place, run_id):
            wrongs.append("left over: its trainer lives at the end")
    except (AssertionError, TimeoutError, aiohttp.ClientError) as error:
        wrongs.append(f"trouble: {type(error).__name__}: {error}")
    return wrongs


def _lies(place: Ground, run: Json, started: int) -> list[str]:
    record = place.exit_record(run["id"])
    if record is not None and run["exit"] is not None and run["exit"]["cause"] != record.cause:
        return [f"lie: the exit record says {record.cause}, the daemon {run['exit']['cause']}"]
    if run["state"] in ("completed", "stopped") and (record is None or record.cause != "stopped"):
        return [f"lie: {run['state']} with the exit record {record and record.cause}"]
    if started != 200 and run["state"] != "failed":
        return [f"lie: the start was answered with {started}, and the run is {run['state']}"]
    return []


async def _start_another(place: Ground, daemon: StormDaemon, before: str) -> list[str]:
    """As soon as it is let: by then no trainer of the first may live."""
    wrongs = []
    config = place.config()
    async with asyncio.timeout(40):
        while True:
            async with daemon.client.post("/training/start", json={"config_path": str(config)}) as answer:
                alive = _trainers(place, before)
                if answer.status == 200:
                    break
                text = await answer.text()
            if answer.status != 409:
                return [f"trouble: the next start is answered with {answer.status}: {text}"]
            await asyncio.sleep(0.05)
    if alive:
        wrongs.append("beside: the next training was started while the trainer of the dead runner lived")
    after = str((await daemon.get("/runs"))["runs"][0]["id"])
    if (await daemon.wait_ended(after))["state"] != "completed":
        wrongs.append("trouble: the next training did not complete")
    return wrongs


def _trainers(place: Ground, run_id: str) -> list[int]:
    """The pids whose command line names the run's attempt as a trainer's does: what the daemon says is not asked."""
    wanted = f"--attempt\0{place.run(run_id).attempt(1).path}\0".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if wanted in path.read_bytes():
                found.append(int(path.parent.name))
    return found
