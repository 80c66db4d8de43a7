"""Runners that are killed, stopped, or named falsely."""

import asyncio
import json
import random
import signal
import subprocess
import time
from pathlib import Path

from ipc.process import ProcessIdentity
from tests.e2e.daemon import Json
from tests.torture.ground import FOREVER, Ground, StormDaemon, beat_of, check_gone, ground, times
from tests.torture.report import Report


async def runner_kills(folder: Path, scale: float, rng: random.Random, report: Report) -> None:
    """The runner dies under a training; every second time the daemon too."""
    rounds = times(20, scale, 2)
    seen: Json = {"lost": 0, "completed": 0, "backed up": 0, "saved": 0, "queued one waited": 0}
    refused = beside = 0
    ends: list[float] = []
    async with ground(folder) as place:
        daemon = await place.daemon()
        for number in range(rounds):
            config = place.config({"step_s": 2.0}, **FOREVER)  # it looks at its orders between two steps: so long it lives on
            run_id = await daemon.begin(config)
            await daemon.wait_step(run_id, 1)
            trainer = daemon.process_of(run_id, "trainer")
            assert daemon.process_of(run_id, "runner").send_signal(signal.SIGKILL)
            began = time.monotonic()
            if number % 2:
                await daemon.kill()
                daemon = await place.daemon()
            await daemon.wait_run(run_id, lambda run: run["state"] == "lost")
            waiting = await daemon.queue(place.config())
            is_refused = await _refuses(daemon, place)
            refused += is_refused
            beside += not is_refused and trainer.is_alive()
            await daemon.wait_ended(waiting)
            seen["queued one waited"] += not trainer.is_alive()
            ends.append(time.monotonic() - began)
            run = await daemon.wait_run(run_id, lambda run: "ended by itself" in (run["error"] or ""))
            seen["lost"] += run["state"] == "lost"
            seen["completed"] += run["state"] == "completed"
            seen["backed up"] += bool(run["last_backup"]) and (Path(run["last_backup"]) / "meta.json").is_file()
            seen["saved"] += config.with_suffix(".safetensors").is_file()
        for what, count in seen.items():
            report.exactly(f"{what}, of {rounds}", count, 0 if what == "completed" else rounds)
        report.show("starts refused while it lived", refused)  # on a slow machine it may have ended before it is asked
        report.exactly("starts beside it", beside, 0)
        report.seconds("from the kill to the end of the next training", ends)
        await check_gone(place, report)
    await _forged_identities(folder / "forged", report)


async def _refuses(daemon: StormDaemon, place: Ground) -> bool:
    """Whether a start is refused now."""
    async with daemon.client.post("/training/start", json={"config_path": str(place.config())}) as answer:
        return answer.status == 409


async def _forged_identities(folder: Path, report: Report) -> None:
    """runner.json names a bystander: by his pid with other ticks, with another boot's, and with rubbish around it."""
    bystander = subprocess.Popen(["sleep", "1000"])  # noqa: ASYNC220 - it takes a millisecond
    mine = ProcessIdentity.of(bystander.pid)
    forgeries: list[Json] = [
        mine._replace(start_ticks=mine.start_ticks - 1).to_json(), mine._replace(boot_id="0" * 36).to_json(),
        {"pid": str(bystander.pid), "start_ticks": "x", "boot_id": None}, {"pid": -1, "start_ticks": 1, "boot_id": mine.boot_id},
        {"pid": bystander.pid},
    ]  # fmt: skip
    try:
        async with ground(folder, places=len(forgeries)) as place:
            daemon = await place.daemon()
            run_ids = [await daemon.queue(place.config({"step_s": 0.05}, **FOREVER)) for _ in forgeries]
            for run_id in run_ids:
                await daemon.wait_step(run_id, 1)
            await daemon.kill()
            for run_id, forgery in zip(run_ids, forgeries, strict=True):
                for who in ("runner", "trainer"):
                    daemon.process_of(run_id, who).send_signal(signal.SIGKILL)
                path = place.run(run_id).attempt(1).runner
                path.write_text(json.dumps({**json.loads(path.read_text()), "runner": forgery, "trainer": {**forgery, "pgid": mine.pid}}))
            await place.wait_runners_gone()
            daemon = await place.daemon()
            ends = [await daemon.wait_run(run_id, lambda run: run["state"] in ("lost", "failed"), 20) for run_id in run_ids]
            report.exactly("forged runs called lost", sum(end["state"] == "lost" for end in ends), len(forgeries))
            run = await daemon.begin(place.config())
            report.exactly("the next training", (await daemon.wait_ended(run))["state"], "completed")
        report.exactly("bystander signalled", bystander.poll() is not None, expected=False)
    finally:
        bystander.kill()
        bystander.wait()


async def one_stopped_runner(folder: Path, scale: float, rng: random.Random, report: Report) -> None:
    """One of the runners is SIGSTOPped while the daemon is away."""
    count = times(20, scale, 4)
    async with ground(folder, places=count) as place:
        daemon = await place.daemon()
        configs = [place.config({"step_s": 0.5}, **FOREVER) for _ in range(count)]
        run_ids = [await daemon.queue(config) for config in configs]
        for run_id in run_ids:
            await daemon.wait_step(run_id, 1)
        stopped = rng.choice(run_ids)
        daemon.process_of(stopped, "runner").send_signal(signal.SIGSTOP)
        await daemon.kill()
        daemon = await place.daemon()
        adopted_at = time.monotonic()
        others = [run_id for run_id in run_ids if run_id != stopped]
        now = {run["id"]: run["state"] for run in (await daemon.get("/runs"))["runs"]}
        report.exactly("others live at once", sum(now[run_id] == "training" for run_id in others), count - 1)
        places = {run_id: (await daemon.get(f"/runs/{run_id}"))["progress"]["global_step"] for run_id in others}
        await asyncio.gather(*(daemon.wait_step(run_id, places[run_id] + 1, 15) for run_id in others))
        report.show("all others move on after, s", f"{time.monotonic() - adopted_at:.2f}")
        await asyncio.gather(*(daemon.post(f"/runs/{run_id}/stop") for run_id in others))
        ends = await asyncio.gather(*(daemon.wait_ended(run_id) for run_id in others))
        report.exactly("others adopted and stopped", sum(end["state"] == "stopped" for end in ends), count - 1)
        report.exactly("attempts of them", sum(end["attempt"] for end in ends), count - 1)
        report.seconds("serving again", [daemon.serving_after_s], 1.0, 3.0)
        report.exactly("the stopped one is", (await daemon.get(f"/runs/{stopped}"))["state"], "training")
        at = beat_of(configs[run_ids.index(stopped)])
        daemon.process_of(stopped, "runner").send_signal(signal.SIGCONT)
        run = await daemon.wait_step(stopped, at + 1, 20)
        await daemon.post(f"/runs/{stopped}/stop")
        run = await daemon.wait_ended(stopped)
        report.exactly("and, going on, it ends as", (run["state"], run["attempt"]), ("stopped", 1))
        await check_gone(place, report)
