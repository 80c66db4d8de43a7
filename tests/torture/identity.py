"""Who is who, and what time it is: a second daemon, a forged pid, a clock that jumps."""

import asyncio
import json
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.torture.follower import Follower, steps_heard
from tests.torture.ground import FOREVER, ROOT, Ground, StormDaemon, check_gone, ground, times
from tests.torture.report import Report, SkipError

_JUMPS_S = (-3600.0, 7200.0, -7200.0, 0.0)


async def second_daemon(folder: Path, scale: float, rng: random.Random, report: Report) -> None:
    """It is refused, again and again, and the first one and its training do not notice. A pid in a file moves nobody."""
    tries = times(10, scale, 2)
    async with ground(folder) as place:
        daemon = await place.daemon()
        run_id = await daemon.begin(place.config({"step_s": 0.02}, **FOREVER))
        await daemon.wait_step(run_id, 1)
        refused = [await _second(place) for _ in range(tries)]
        told = [code == 1 and "is in use by another onetrainerd" in text for code, text in refused]
        report.exactly(f"second daemons refused, of {tries}", sum(told), tries)
        step = (await daemon.get(f"/runs/{run_id}"))["progress"]["global_step"]
        await daemon.wait_step(run_id, step + 5)
        await daemon.kill()
        bystander = subprocess.Popen(["sleep", "1000"])  # noqa: ASYNC220 - it takes a millisecond
        try:
            for name in ("endpoint.json", "daemon.lock", "daemon.pid"):
                (place.state_dir / name).write_text(json.dumps({"url": daemon.url, "pid": bystander.pid, "version": "9"}))
            daemon = await place.daemon()
            report.exactly("adopted beside a forged pid file", (await daemon.get(f"/runs/{run_id}"))["state"], "training")
            await daemon.post("/training/stop", {"force": True})
            await daemon.wait_ended(run_id)
            report.exactly("bystander signalled", bystander.poll() is not None, expected=False)
        finally:
            bystander.kill()
            bystander.wait()
        await check_gone(place, report)


async def _second(place: Ground) -> tuple[int | None, str]:
    """Exit code and words of a further daemon on the same state directory."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daemon.cli.main", "serve", "--config", str(place.folder / "onetrainerd.toml"), "--port", "0",
        "--state-dir", str(place.state_dir), cwd=place.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(30):
        _, text = await process.communicate()
    return process.returncode, text.decode()


async def clock_jumps(folder: Path, scale: float, rng: random.Random, report: Report) -> None:
    """The wall clock of daemon, runner and trainer jumps under everything that waits: the monotonic clock is what they wait by."""
    folder.mkdir(parents=True)
    environment, clock = _wrong_clock(folder)
    jumps = _JUMPS_S if scale >= 1 else _JUMPS_S[:2]
    async with ground(folder / "ground") as place:
        place.environment = environment
        daemon = await place.daemon()
        done: list[str] = []
        async with Follower(place).following() as follower:
            await asyncio.sleep(0.3)
            for number in range(times(3, scale)):
                for jump_s in jumps:
                    run_id = await daemon.begin(place.config({"step_s": 0.01}, **FOREVER))
                    await daemon.wait_step(run_id, 2)
                    _set(clock, jump_s)
                    done += await _everything(daemon, run_id, number)
                    if jump_s == jumps[0]:  # a daemon that comes up under the wrong clock
                        await daemon.kill()
                        daemon = await place.daemon()
                    await daemon.post("/training/stop")
                    run = await daemon.wait_ended(run_id)
                    done.append(f"{run['state']} by {run['cause']}")
                    _set(clock, 0.0)
                    await follower.wait_quiet()
                    steps = steps_heard(follower, run_id)
                    done.append("stream exact" if steps == list(range(1, run["progress"]["global_step"] + 1)) else "stream broken")
                    events = await _types(daemon, run_id)
                    done += [kind for kind in ("run.stalled", "run.lost", "stop.term", "stop.kill") if kind in events]
        rounds = len(jumps) * times(3, scale)
        report.show(
            "jumps, s",
            ", ".join(f"{jump_s:+g}" for jump_s in jumps) + f"; of {'all processes' if 'LD_PRELOAD' in environment else 'the daemon'}",
        )
        for what in ("paused", "resumed", "sampled", "backed up", "stopped by stopped", "stream exact"):
            report.exactly(f"{what}, of {rounds}", done.count(what), rounds)
        misfires = sorted(set(done) - {"paused", "resumed", "sampled", "backed up", "stopped by stopped", "stream exact"})
        report.exactly("misfires", misfires, [])
        await check_gone(place, report)


async def _everything(daemon: StormDaemon, run_id: str, number: int) -> list[str]:
    """All that waits for an answer."""
    done: list[str] = []
    await daemon.post("/training/pause")
    await daemon.wait_run(run_id, lambda run: run["state"] == "paused", 5)
    done.append("paused")
    await daemon.post("/training/resume")
    await daemon.wait_run(run_id, lambda run: run["state"] == "training", 5)
    done.append("resumed")
    await daemon.post("/training/sample")
    await daemon.wait_run(run_id, lambda run: run["samples"] >= 1, 10)
    done.append("sampled")
    await daemon.post("/training/backup")
    await daemon.wait_run(run_id, lambda run: bool(run["last_backup"]), 10)
    return [*done, "backed up"]


async def _types(daemon: StormDaemon, run_id: str) -> set[str]:
    found: set[str] = set()
    since = ""
    while True:
        page = await daemon.get(f"/runs/{run_id}/events?limit=512" + (f"&since={since}" if since else ""))
        found |= {event["type"] for event in page["events"]}
        since = page["next"]
        if not page["events"]:
            return found


def _wrong_clock(folder: Path) -> tuple[Mapping[str, str], Path]:
    """The environment that makes a clock wrong by the seconds in a file, and the file. Needs a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SkipError("no C compiler is here, to make a wrong clock with")
    library, clock = folder / "clock.so", folder / "clock"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(ROOT / "tests" / "torture" / "clock.c")], check=True)
    _set(clock, 0.0)
    return {"LD_PRELOAD": str(library), "STORM_CLOCK": str(clock)}, clock


def _set(clock: Path, seconds: float) -> None:
    """In place: the file is mapped."""
    with clock.open("r+b" if clock.exists() else "w+b") as file:
        file.write(struct.pack("d", seconds))
