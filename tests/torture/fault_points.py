"""The daemon dies at each write, rename and spawn on the way from its start over a training's start and stop to its own end."""

import asyncio
import itertools
import random
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.e2e.daemon import Json
from tests.torture.ground import FOREVER, Ground, StormDaemon, ground, has_ended, starts_of, times
from tests.torture.report import Report

_AT_ONCE = 2
_SECRET = "hf_a_secret_of_the_storm"


@dataclass
class Story:
    """What the client of a daemon that died was told before."""

    config: Path
    run_id: str | None = None
    stop_accepted: bool = False
    ended: Json | None = None
    died: bool = False
    wrongs: list[str] = field(default_factory=list)


async def every_point(folder: Path, scale: float, rng: random.Random, report: Report) -> None:
    """All points at scale 1, else a choice of them; half-written bytes too, wherever bytes are written."""
    async with ground(folder / "count") as place:
        counted = place.folder / "points"
        story = await _live_through(place, {"count_to": str(counted)})
        points = [line.split(maxsplit=2)[1:] for line in counted.read_text().splitlines()]
    if story.died or story.ended is None:
        report.fail("the daemon that only counts did not come to its end")
        return
    faults = [(number, mode) for number, (name, *_) in enumerate(points, 1) for mode in ("before", "torn")[: 1 + (name == "write")]]
    chosen = faults if scale >= 1 else rng.sample(faults, min(len(faults), times(len(faults), scale, 2)))
    report.show("points from start to end", len(points))
    report.show("deaths tried", len(chosen))
    slots = asyncio.Semaphore(_AT_ONCE)

    async def attempt(number: int, mode: str) -> Story:
        async with slots, ground(folder / f"{number}-{mode}") as place:
            return await _die_and_look(place, number, mode)

    stories = await asyncio.gather(*itertools.starmap(attempt, chosen))
    report.show("of them the daemon died", sum(story.died for story in stories))
    report.show("its client had its start accepted", sum(story.run_id is not None for story in stories))
    for kind in ("double start", "lost run", "lie", "trouble", "left over"):
        wrong = [wrong for story in stories for wrong in story.wrongs if wrong.startswith(kind)]
        report.exactly(f"{kind}s", len(wrong), 0)
        report.failures += wrong[:5]


async def _live_through(place: Ground, plan: Json) -> Story:
    """A client starts a training, sees it train, releases and resumes it, stops it, and ends the daemon; or as much as comes to pass."""
    (place.folder / "secrets.json").write_text(f'{{"huggingface_token": "{_SECRET}"}}')
    story = Story(place.config({"step_s": 0.002}, **FOREVER))
    daemon = place.prepare_daemon(plan)
    try:
        await daemon.start()
        await daemon.post("/training/start", {"config_path": str(story.config), "secrets_path": str(place.folder / "secrets.json")})
        story.run_id = (await daemon.get("/runs"))["runs"][0]["id"]
        await daemon.wait_step(story.run_id, 2)
        await daemon.post("/training/pause", {"mode": "release"})
        await daemon.wait_run(story.run_id, lambda run: run["state"] == "released")
        await daemon.post("/training/resume")
        await daemon.wait_run(story.run_id, _has_trained)
        await daemon.post("/training/stop")
        story.stop_accepted = True
        story.ended = await daemon.wait_ended(story.run_id)
        await daemon.stop()
    except (aiohttp.ClientError, ConnectionError, OSError) as error:
        story.died = True
        if await _is_alive(daemon):
            story.wrongs.append(f"trouble: {error!r}, and the daemon lives")
    except AssertionError as error:
        story.wrongs.append(f"trouble: {error}")
    story.died = story.died or daemon.process.returncode != 0
    return story


async def _is_alive(daemon: StormDaemon) -> bool:
    try:
        async with asyncio.timeout(5):
            await daemon.process.wait()
    except TimeoutError:
        return True
    return False


async def _die_and_look(place: Ground, number: int, mode: str) -> Story:
    story = await _live_through(place, {"at": number, "mode": mode, "count_to": str(place.folder / "points")})
    try:
        await _look(place, story)
    except (AssertionError, TimeoutError, OSError, aiohttp.ClientError) as error:
        story.wrongs.append(f"trouble: {type(error).__name__}: {error}")
    lines = (place.folder / "points").read_text().splitlines()
    where = " ".join(lines[number - 1 : number]) or "not reached"
    story.wrongs = [f"{wrong} [{mode} {where}]" for wrong in story.wrongs]
    return story


async def _look(place: Ground, story: Story) -> None:
    """With the next daemon: is everything there, and as it says?"""
    daemon = await place.daemon()
    runs = (await daemon.get("/runs"))["runs"]
    if story.run_id is not None and story.run_id not in [run["id"] for run in runs]:
        story.wrongs.append("lost run: its client was told of it")
    if len(runs) > 1:
        story.wrongs.append(f"double start: {len(runs)} runs of one request")
    for run_id in [run["id"] for run in runs]:
        run = await daemon.wait_run(run_id, lambda run: has_ended(run) or _has_trained(run) or run["state"] == "released")
        if run["state"] == "released":
            await daemon.post(f"/runs/{run_id}/resume")
            run = await daemon.wait_run(run_id, lambda run: has_ended(run) or _has_trained(run))
        if not has_ended(run) and not story.stop_accepted:
            await daemon.post(f"/runs/{run_id}/stop")
        run = await daemon.wait_ended(run_id)
        _compare(place, story, run)
    await daemon.post("/training/start", {"config_path": str(place.config())})
    last = (await daemon.get("/runs"))["runs"][0]
    if (await daemon.wait_ended(last["id"]))["state"] != "completed":
        story.wrongs.append("trouble: the next training did not complete")
    await daemon.stop()
    await place.wait_runners_gone()
    if place.living():
        story.wrongs.append(f"left over: {place.living()}")
    for path in [*place.state_dir.rglob("secrets.json"), *place.state_dir.glob("runs/.new-*")]:
        story.wrongs.append(f"left over: {path}")


def _has_trained(run: Json) -> bool:
    return run["state"] == "training" and bool(run["progress"]) and run["progress"]["global_step"] >= 2


def _compare(place: Ground, story: Story, run: Json) -> None:
    """What the daemon says against what lies on disk and what the trainers themselves noted."""
    starts = starts_of(story.config)
    beside = sum(len(start) - 1 for start in starts)
    if len(starts) > 2 or beside:  # the start and the resumption
        story.wrongs.append(f"double start: {len(starts)} trainers of one run, {beside} lived when another began")
    record = place.exit_record(run["id"], run["attempt"])
    if run["state"] != "stopped" or run["cause"] != "stopped":
        story.wrongs.append(f"lie: {run['state']} by {run['cause']} ({run['error']}), exit record {record and record.cause}")
    elif record is None or (record.cause, record.code) != ("stopped", 0):
        story.wrongs.append(f"lie: stopped, and the exit record says {record and (record.cause, record.code)}")
    if story.ended is not None and (story.ended["state"], story.ended["exit"]) != (run["state"], run["exit"]):
        story.wrongs.append("lie: the end is told otherwise than before")
