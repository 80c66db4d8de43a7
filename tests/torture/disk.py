"""The state directory's disk fills up under a training. Needs root, to mount a small file system."""

import asyncio
import contextlib
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from ipc.exit_record import read_exit
from tests.torture.follower import Follower
from tests.torture.ground import FOREVER, Ground, StormDaemon, beat_of, check_gone, ground, has_ended, times
from tests.torture.report import Report, SkipError

_SIZE = 4 << 20
_ROOM_LEFT = 200 << 10
_TOLD_S = 40.0


async def full_disk(folder: Path, scale: float, rng: random.Random, report: Report) -> None:
    """Once room comes back while the training goes on, once the training ends while there is none; again and again."""
    for number in range(times(5, scale)):
        path = folder / str(number)
        for name, storm in (("room-comes-back", _room_comes_back), ("ends-while-full", _ends_while_full)):
            with _small_disk(path / f"{name}.disk") as disk:
                async with ground(path / name, state_dir=disk / "state") as place:
                    await storm(place, disk / "filler", report)


async def _room_comes_back(place: Ground, filler: Path, report: Report) -> None:
    daemon = await place.daemon()
    async with Follower(place).following() as follower:
        await asyncio.sleep(0.3)
        run_id, config = await _train_until_full(place, daemon, filler, report)
        health = await _wait_health(daemon)
        report.exactly("/health says so", health != "ok", expected=True)
        step = beat_of(config)
        await daemon.wait_run(run_id, lambda _: beat_of(config) > step + 100)
        filler.unlink()
        await _wait_event(place, run_id, "journal.resumed")
        await daemon.post("/training/stop")
        end = await daemon.wait_ended(run_id)
        await follower.wait_quiet()
    events = place.events(run_id)
    report.exactly("journal.held events", sum(event["type"] == "journal.held" for event in events) >= 1, expected=True)
    steps = [row["global_step"] for event in events for row in event.get("rows", [event]) if event["type"] in ("step", "steps")]
    report.exactly("steps in the journal, none missing", steps == list(range(1, end["progress"]["global_step"] + 1)), expected=True)
    told = [item["data"]["message"] for item in follower.heard if item["type"] == "log"]
    report.exactly("a client heard of it", any("waits for room" in text for text in told), expected=True)
    report.exactly("then stopped as", (end["state"], end["cause"]), ("stopped", "stopped"))
    await _no_torn_file(place, report)


async def _ends_while_full(place: Ground, filler: Path, report: Report) -> None:
    daemon = await place.daemon()
    run_id, config = await _train_until_full(place, daemon, filler, report)
    async with daemon.client.post("/training/stop", json={}) as answer:
        # The runner hears it and obeys; what it cannot do is to write down that it has accepted. It has ended, or the daemon says why.
        code = "" if answer.status == 200 else (await answer.json())["details"]["code"]
        report.exactly("a stop while full is told as it is", code in ("", "disk_full"), expected=True)
    await place.wait_runners_gone()
    record = read_exit(place.run(run_id).attempt(1).exit)
    report.exactly("exit record on the full disk", record and (record.cause, record.code), ("stopped", 0))
    report.exactly("the model", config.with_suffix(".safetensors").is_file(), expected=True)
    end = await daemon.wait_run(run_id, has_ended, 20)
    report.exactly("the daemon says, while full", end["state"], "stopped")
    await daemon.kill()
    daemon = await place.daemon()
    report.exactly("the next daemon, while full", (await daemon.get(f"/runs/{run_id}"))["state"], "stopped")
    filler.unlink()
    await daemon.kill()
    daemon = await place.daemon()
    report.exactly("the next daemon, with room", (await daemon.get(f"/runs/{run_id}"))["state"], "stopped")
    after = await daemon.begin(place.config())
    report.exactly("the next training", (await daemon.wait_ended(after))["state"], "completed")
    await _no_torn_file(place, report)


async def _train_until_full(place: Ground, daemon: StormDaemon, filler: Path, report: Report) -> tuple[str, Path]:
    config = place.config({"step_s": 0.005, "tags": 8}, **FOREVER)
    run_id = await daemon.begin(config)
    await daemon.wait_step(run_id, 5)
    _fill(filler, _ROOM_LEFT)
    deadline = time.monotonic() + 60
    while _free(filler.parent) > 0:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the disk does not fill: {_free(filler.parent)} bytes are free")
        await asyncio.sleep(0.05)
    step = beat_of(config)
    await daemon.wait_run(run_id, lambda _: beat_of(config) > step + 200)
    report.exactly("trains on while the disk is full", beat_of(config) > step + 200, expected=True)
    return run_id, config


async def _wait_health(daemon: StormDaemon) -> str:
    """What /health says of the disk, once that is not "ok"."""
    deadline = time.monotonic() + _TOLD_S
    while (said := str((await daemon.get("/health")).get("disk"))) == "ok" and time.monotonic() < deadline:  # noqa: ASYNC110 - asking is all one can do
        await asyncio.sleep(0.2)
    return said


async def _wait_event(place: Ground, run_id: str, kind: str) -> None:
    deadline = time.monotonic() + 30
    while not any(event["type"] == kind for event in place.events(run_id)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {kind}")
        await asyncio.sleep(0.2)


async def _no_torn_file(place: Ground, report: Report) -> None:
    """Every JSON file is whole, and every line of every journal; nothing is left half-made."""
    await check_gone(place, report)
    torn: list[str] = []
    for path in place.state_dir.rglob("*"):
        if path.suffix not in (".json", ".jsonl") or not path.is_file():
            continue
        data = path.read_bytes()
        parts = [data] if path.suffix == ".json" else data.split(b"\n")[:-1]
        for part in parts:
            try:
                json.loads(part)
            except ValueError:
                torn.append(f"{path}: {part[:60]!r}")
        if path.suffix == ".jsonl" and path.parent.name != "checkpoints" and not data.endswith(b"\n") and data:
            torn.append(f"{path}: the last line is torn")
    report.exactly("torn files", torn, [])
    report.exactly("temporary files", [str(path) for path in place.state_dir.rglob(".*.tmp")], [])


def _fill(filler: Path, room_left: int) -> None:
    with filler.open("wb") as file:
        file.write(bytes(max(0, _free(filler.parent) - room_left)))


def _free(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


@contextlib.contextmanager
def _small_disk(path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        raise SkipError("only root can mount a small file system")
    path.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "none", str(path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        raise SkipError(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
