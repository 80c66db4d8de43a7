"""Trainers that crash, flood their console, or write more than a daemon that is not there can read."""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from tests.torture.follower import Follower
from tests.torture.ground import FOREVER, Ground, StormDaemon, check_gone, ground, memory_kb, times
from tests.torture.report import Report

CRASHES = {
    "segv": (None, "SIGSEGV", "crash"), "abort": (None, "SIGABRT", "crash"), "bus": (None, "SIGBUS", "crash"),
    "exit:7": (7, None, "unknown"), "system_exit:4": (4, None, "unknown"),
}  # fmt: skip
CONSOLE_BYTES = 16 << 20
_POOL_THREADS = min(32, (os.cpu_count() or 1) + 4)
"""asyncio's default executor grows when it is busy, up to here, and never shrinks: that is no leak."""


async def crashes(folder: Path, scale: float, rng: random.Random, report: Report) -> None:
    """A client sees every crash at once, and the daemon answers all the while."""
    rounds = times(20, scale)
    detected: list[float] = []
    right = dict.fromkeys(CRASHES, 0)
    async with ground(folder) as place:
        daemon = await place.daemon()
        async with Follower(place).following() as follower, _asked_for_health(daemon) as answers:
            for _ in range(rounds):
                for kind in rng.sample(sorted(CRASHES), len(CRASHES)):
                    config = place.config({"step_s": 0.005, "do": kind, "at_step": rng.randint(2, 30)}, **FOREVER)
                    run_id = await daemon.begin(config)
                    heard_at = await _heard_end(follower, run_id)
                    detected.append(heard_at - float(config.with_suffix(".died").read_text()))
                    run = await daemon.wait_ended(run_id)
                    end = run["exit"]
                    right[kind] += (end["code"], end["signal"], end["cause"], run["state"]) == (*CRASHES[kind], "failed")
        for kind, count in right.items():
            report.exactly(f"{kind} reported exactly, of {rounds}", count, rounds)
        report.seconds("detection", detected, 0.99, 0.25)
        report.seconds("/health meanwhile", [answer for answer in answers if answer is not None])
        report.exactly("/health without an answer", answers.count(None), 0)
        await check_gone(place, report)


async def _heard_end(follower: Follower, run_id: str) -> float:
    """The time at which a client heard that the run has ended; polled, since the clock of the crash is another process's."""
    seen = 0
    async with asyncio.timeout(30):
        while True:
            for message in follower.heard[seen:]:
                if message["run_id"] == run_id and message["type"] == "training_state" and message["data"]["status"] == "error":
                    return time.time()
            seen = len(follower.heard)
            await follower.wait_news()


@contextlib.asynccontextmanager
async def _asked_for_health(daemon: StormDaemon) -> AsyncIterator[list[float | None]]:
    """The seconds that each answer took, None where there was none; asked twenty times a second."""
    answers: list[float | None] = []

    async def ask() -> None:
        while True:
            began = time.monotonic()
            try:
                async with daemon.client.get("/health", timeout=aiohttp.ClientTimeout(total=5)) as answer:
                    answers.append(time.monotonic() - began if answer.status == 200 else None)
            except (aiohttp.ClientError, TimeoutError):
                answers.append(None)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(ask())
    try:
        yield answers
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def daemon_away(folder: Path, scale: float, rng: random.Random, report: Report) -> None:
    """The daemon is down while the trainer writes, 10 MB at scale 1; then it reads all that."""
    wanted = times(10 << 20, scale, 1 << 19)
    async with ground(folder) as place:
        daemon = await place.daemon()
        config = place.config({"step_s": 0.002, "tags": 40}, **FOREVER)
        run_id = await daemon.begin(config)
        await daemon.wait_step(run_id, 1)
        await daemon.kill()
        config.with_suffix(".waits").unlink(missing_ok=True)
        journal = place.run(run_id).attempt(1).events
        before = _size(journal)
        async with asyncio.timeout(120 + 120 * scale):
            while _size(journal) - before < wanted:  # noqa: ASYNC110 - nobody is there to wake us
                await asyncio.sleep(0.1)
        telling_s, step_s = map(float, config.with_suffix(".waits").read_text().split())
        report.show("written while it was down, bytes", _size(journal) - before)
        report.seconds("the longest that a step waited to tell its events", [telling_s], 1.0, 0.1)
        report.seconds("the longest step altogether", [step_s])
        daemon = await place.daemon()
        report.seconds("serving again", [daemon.serving_after_s])
        await daemon.post("/training/stop")
        run = await daemon.wait_ended(run_id)
        steps = [
            row["global_step"] for event in place.events(run_id) for row in event.get("rows", [event]) if event["type"] in ("step", "steps")
        ]
        report.exactly("steps in the journal", steps == list(range(1, run["progress"]["global_step"] + 1)), expected=True)
        await check_gone(place, report)


async def consoles(folder: Path, scale: float, rng: random.Random, report: Report) -> None:
    """20,000 frames of a progress bar; a line of 10 MB, broken UTF-8, NULs."""
    frames = times(20_000, scale, 1000)
    async with ground(folder) as place:
        daemon = await place.daemon()
        for name, action in (("frames", f"frames:{frames}"), ("noise", "noise")):
            config = place.config({"step_s": 0.1, "do": action, "at_step": 3})
            before_daemon = memory_kb(daemon.process.pid)
            run_id = await daemon.begin(config)
            await daemon.wait_step(run_id, 1)
            runner = daemon.process_of(run_id, "runner").pid
            before = memory_kb(runner)
            grown, most_daemon = await _watch_memory(place, daemon, run_id, runner)
            run = await daemon.get(f"/runs/{run_id}")
            report.exactly(f"{name}: the training", run["state"], "completed")
            report.at_most(f"{name}: console on disk", _console_bytes(place, run_id) / 1024, CONSOLE_BYTES * 2 / 1024, " KiB")
            report.at_most(f"{name}: runner grew by", max(0, grown - before) / 1024, 8, " MiB")
            report.at_most(f"{name}: daemon grew by", max(0, most_daemon - before_daemon) / 1024, 20, " MiB")
            tail = run["exit"]["console_tail"]
            report.at_most(f"{name}: longest line of the tail", max(map(len, tail)), 400, " characters")
        if "lines" in (told := await _log_of(daemon, run_id)):
            report.show("log lines by the API", len(told["lines"]))
        await check_gone(place, report)


async def _watch_memory(place: Ground, daemon: StormDaemon, run_id: str, runner: int) -> tuple[int, int]:
    """The most that runner and daemon took, in KiB, until the run had ended."""
    most_runner = most_daemon = 0
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(OSError, StopIteration):
                most_runner = max(most_runner, memory_kb(runner, "VmHWM"))
            most_daemon = max(most_daemon, memory_kb(daemon.process.pid))
            if (await daemon.get(f"/runs/{run_id}"))["state"] in ("completed", "failed", "lost", "stopped"):
                return most_runner, most_daemon
            await asyncio.sleep(0.02)


async def _log_of(daemon: StormDaemon, run_id: str) -> dict[str, list[str]]:
    async with daemon.client.get(f"/runs/{run_id}/log", params={"tail": "100"}) as answer:
        text = await answer.text(errors="replace")
        return {"lines": text.splitlines()} if answer.status == 200 else {}


def _console_bytes(place: Ground, run_id: str) -> int:
    console = place.run(run_id).attempt(1).console
    return sum(path.stat().st_size for path in console.parent.glob(console.name + "*"))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.jsonl"))


async def cycles(folder: Path, scale: float, rng: random.Random, report: Report) -> None:
    """Start and stop, again and again: what the daemon holds afterwards is what it held before."""
    count, warm = times(500, scale, 4), times(25, scale, 3)
    async with ground(folder) as place:
        daemon = await place.daemon()
        pid = daemon.process.pid
        for _ in range(warm):
            await _cycle(place, daemon, rng)
        before = _held(pid)
        for _ in range(count):
            await _cycle(place, daemon, rng)
        await check_gone(place, report)
        after = await _settled(pid, before)
        report.show("cycles", count)
        for what, limit in (("descriptors", 0), ("threads", _POOL_THREADS - 1), ("zombies", 0)):
            report.at_most(f"{what} more than before ({before[what]})", after[what] - before[what], limit)
        if after["descriptors"] > before["descriptors"]:
            report.show("descriptors at the end", ", ".join(sorted(_targets(pid))))
        report.show("memory for each run kept", f"{(after['memory'] - before['memory']) / count:.0f} KiB")
        await daemon.kill()
        fresh = await place.daemon()
        await fresh.get("/runs")
        # Every run that is kept has its summary in memory: the baseline is a new daemon over the same runs.
        leaked = after["memory"] - memory_kb(fresh.process.pid)
        report.at_most("memory more than a new daemon has over the same runs", max(0, leaked) / 1024, 8, " MiB")


async def _cycle(place: Ground, daemon: StormDaemon, rng: random.Random) -> None:
    run_id = await daemon.begin(place.config({"step_s": 0.002}, **FOREVER))
    if rng.random() < 0.8:
        await daemon.wait_step(run_id, 1)
    await daemon.post("/training/stop", {"force": rng.random() < 0.1})
    await daemon.wait_ended(run_id)


async def _settled(pid: int, before: dict[str, int]) -> dict[str, int]:
    """What it holds when it has come to rest: idle connections, threads and helper processes need not go at once."""
    deadline = time.monotonic() + 90
    while True:
        now = _held(pid)
        if all(now[what] <= before[what] for what in ("descriptors", "threads", "zombies")) or time.monotonic() > deadline:
            return now
        await asyncio.sleep(0.5)


def _held(pid: int) -> dict[str, int]:
    proc = Path("/proc") / str(pid)
    children = [stat.rpartition(")")[2].split() for stat in _stats()]
    return {
        "descriptors": len(list((proc / "fd").iterdir())), "threads": len(list((proc / "task").iterdir())),
        "zombies": sum(fields[0] == "Z" and int(fields[1]) == pid for fields in children), "memory": memory_kb(pid),
    }  # fmt: skip


def _targets(pid: int) -> list[str]:
    return [str(path.readlink()) for path in (Path("/proc") / str(pid) / "fd").iterdir()]


def _stats() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            found.append(path.read_text())
    return found
