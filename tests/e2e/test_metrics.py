"""`/runs/{id}/metrics` over real trainings and daemons that come and go."""

import asyncio
import csv
import io
import json
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import psutil

from daemon.supervisor.store import RunSpec, RunStore
from ipc.journal import JournalWriter
from tests.e2e.conftest import LONG, StartDaemon, make_config
from tests.e2e.daemon import DEADLINE_S, Daemon
from tests.e2e.event_files import of_attempt, read_event_files

LOSS = "loss/train_step"


async def metrics(daemon: Daemon, run_id: str, query: str = "max_points=100000") -> dict[str, Any]:
    """The answer, as soon as it is complete."""
    async with asyncio.timeout(DEADLINE_S):
        while not (found := await daemon.get(f"/runs/{run_id}/metrics?{query}"))["is_complete"]:
            pass
    return found


def journal_steps(daemon: Daemon, count: int, **scalars: object) -> str:
    """A run that nobody trains, with *count* steps in its journal, put into the state directory of a daemon that is not there yet."""
    directory = RunStore(daemon.state_dir).create(RunSpec("builtin", {}), 1.0).directory
    directory.attempt(1).create()
    journal = JournalWriter(directory.attempt(1).events)
    for number in range(count):
        journal.append({"type": "step", "ts": 1000.0 + number, "global_step": number + 1, "scalars": {LOSS: number % 97 / 97, **scalars}})
    journal.close()
    own = JournalWriter(directory.daemon)
    own.append({"type": "run.starting", "after": [0, 0], "attempt": 1})
    own.append({"type": "run.settled", "after": [1, journal.seq], "attempt": 1, "state": "completed", "cause": "completed"})
    own.close()
    return directory.run_id


async def test_a_training_is_shown_as_in_its_event_files_over_a_release_and_under_killed_daemons(
    start_daemon: StartDaemon, folder: Path
) -> None:
    daemon = await start_daemon()
    run_id = (await daemon.post("/runs", {"config": make_config(folder, epochs=40, tensorboard=True)}, status=201))["id"]
    async with daemon.listen() as listener:
        await listener.wait_step(30)
    await daemon.kill()
    daemon = await start_daemon()
    async with daemon.listen() as listener:
        await listener.wait_step(60)
        assert (await metrics(daemon, run_id))["attempts"][0]["last_step"] >= 60
        await daemon.post(f"/runs/{run_id}/pause", {"mode": "release"})
        await listener.wait("training_state", lambda data: data.get("state") == "released")
        await daemon.post(f"/runs/{run_id}/resume")
        await listener.wait_status("completed")
    found = await metrics(daemon, run_id)
    files = read_event_files(sys.executable, folder / "workspace")
    assert [of_attempt(found, 1), of_attempt(found, 2)] == files
    assert {LOSS, "smooth_loss/train_step", "lr/unet", "ema_decay"} == set(files[0])
    merged = await metrics(daemon, run_id, "max_points=100000&merged=true&tags=loss/*")
    assert merged["series"][0]["global_step"] == list(range(1, 161))


async def test_steps_that_a_restart_trains_again_are_told_of_both_attempts(daemon: Daemon, folder: Path) -> None:
    config = make_config(folder, **LONG, tensorboard=True) | {"backup_after": 10, "backup_after_unit": "STEP"}
    order = {"config": config, "restart": {"on": ["killed"], "backoff_s": 0, "max_restarts": 1}}
    run_id = (await daemon.post("/runs", order, status=201))["id"]
    async with daemon.listen() as listener:
        await listener.wait_step(25)
        daemon.process_of(run_id, "trainer").send_signal(signal.SIGKILL)
        await listener.wait("training_state", lambda data: data.get("state") == "waiting_restart" or data["status"] == "starting")
        async with asyncio.timeout(DEADLINE_S):
            while not [one for one in (await daemon.get(f"/runs/{run_id}/metrics"))["attempts"] if one["attempt"] == 2]:
                await asyncio.wait_for(listener.socket.receive(), DEADLINE_S)
        await daemon.post(f"/runs/{run_id}/stop")
        await listener.wait_status("stopped")
    found = await metrics(daemon, run_id)
    first, second = found["attempts"]
    assert second["first_step"] % 10 == 0 or (second["first_step"] - 1) % 10 == 0
    assert second["first_step"] <= first["last_step"]
    killed, stopped = read_event_files(sys.executable, folder / "workspace")
    assert of_attempt(found, 2) == stopped
    # TensorBoard's writer keeps the last seconds to itself, and takes them along when it is killed; the journal has them.
    assert all(of_attempt(found, 1)[tag][: len(rows)] == rows for tag, rows in killed.items())


async def test_a_chart_that_polls_gets_every_step_once_also_from_the_next_daemon(start_daemon: StartDaemon, folder: Path) -> None:
    daemon = await start_daemon()
    run_id = (await daemon.post("/runs", {"config": make_config(folder, epochs=50)}, status=201))["id"]
    cursor, seen = "", list[int]()

    async def poll() -> None:
        nonlocal cursor
        found = await metrics(daemon, run_id, f"tags={LOSS}&since={cursor}")
        cursor = found["next"]
        seen.extend(number for one in found["series"] for number in one["global_step"])

    async with daemon.listen() as listener:
        for number in range(1, 60, 3):
            await listener.wait_step(number)
            await poll()
    await daemon.kill()
    daemon = await start_daemon()
    async with daemon.listen() as listener:
        for number in range(60, 200, 20):
            await listener.wait_step(number)
            await poll()
        await listener.wait_status("completed")
    await poll()
    assert seen == list(range(1, 201))
    tags = await daemon.get(f"/runs/{run_id}/metrics/tags")
    [loss] = [one for one in tags["tags"] if one["tag"] == LOSS]
    assert (loss["count"], loss["first_step"], loss["last"]["global_step"]) == (200, 1, 200)


async def test_a_long_run_is_thinned_out_in_a_helper_and_the_daemon_stays_small(folder: Path) -> None:
    daemon = Daemon(folder)
    run_id = journal_steps(daemon, 50_000, **{"lr/unet": "NaN", "grad": "-Infinity"})
    await daemon.start()
    try:
        found = await metrics(daemon, run_id, "max_points=500")
        assert {one["tag"]: (one["count"], len(one["value"]) <= 500) for one in found["series"]} == dict.fromkeys(
            (LOSS, "lr/unet", "grad"), (50_000, True)
        )
        values = {one["tag"]: one["value"] for one in found["series"]}
        assert (set(values["lr/unet"]), set(values["grad"])) == ({"NaN"}, {"-Infinity"})
        assert (min(values[LOSS]), max(values[LOSS])) == (0, 96 / 97)
        async with daemon.client.get(f"/runs/{run_id}/metrics?format=csv") as answer:
            assert (answer.status, answer.content_type) == (200, "text/csv")
            rows = list(csv.DictReader(io.StringIO(await answer.text())))
        assert len(rows) == 150_000
        assert rows[-1] == {"attempt": "1", "tag": "lr/unet", "global_step": "50000", "time": "50999.0", "value": "NaN"}
        process = Path(f"/proc/{daemon.process.pid}")
        assert "numpy" not in (process / "maps").read_text()
        assert int(next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS")).split()[1]) < 80 * 1024
    finally:
        await daemon.stop()


async def test_a_damaged_store_of_an_ended_run_is_made_anew(folder: Path) -> None:
    daemon = Daemon(folder)
    run_id = journal_steps(daemon, 20_000)
    path = daemon.state_dir / "runs" / run_id / "scalars.db"
    await daemon.start()
    try:
        before = await metrics(daemon, run_id)
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE chunk SET data = x'00'")
        connection.close()
        refused = await daemon.get(f"/runs/{run_id}/metrics", status=500)
        assert refused["details"]["code"] == "garbled_scalars"
        assert await metrics(daemon, run_id) == before
    finally:
        await daemon.stop()


async def test_a_run_without_steps_answers_empty_and_wrong_questions_are_refused_clearly(daemon: Daemon, folder: Path) -> None:
    run_id = (await daemon.post("/runs", {"config": make_config(folder, epochs=1)}, status=201))["id"]
    async with daemon.listen() as listener:
        await listener.wait_status("starting")
        waiting = (await daemon.post("/runs", {"config": make_config(folder)}, status=201))["id"]
        found = await daemon.get(f"/runs/{waiting}/metrics?tags={LOSS}")
        assert (found["series"], found["attempts"], found["is_complete"]) == ([], [], True)
        async with daemon.client.get(f"/runs/{waiting}/metrics?format=csv") as answer:
            assert await answer.text() == "attempt,tag,global_step,time,value\n"
        await listener.wait_step(4)
    path = f"/runs/{run_id}/metrics"
    refused = await daemon.get(f"{path}?tags=los/train_step", status=404)
    assert refused["details"]["code"] == "no_tag"
    assert LOSS in refused["details"]["nearest"]
    for query, word in (
        ("max_points=2", "max_points"), ("max_points=many", "max_points"), ("max_points=1000000", "max_points"), ("until=-1", "until"),
        ("format=xml", "format"), ("since=yesterday", "since"), (f"since={waiting}.1.2", "since"), ("tag=loss", "tags"),
        ("merged=perhaps", "merged"),
    ):  # fmt: skip
        assert word in (await daemon.get(f"{path}?{query}", status=400))["message"]
    assert (await daemon.get("/runs/000009-ffff/metrics", status=404))["details"]["code"] == "no_run"
    async with daemon.client.head(f"{path}?format=csv") as answer:
        assert answer.status == 200
    async with daemon.client.get("/openapi.json") as answer:
        content = json.loads(await answer.text())["paths"]["/runs/{run_id}/metrics"]["get"]["responses"]["200"]["content"]
    assert set(content) == {"text/csv", "application/json"}


async def test_a_helper_that_has_died_is_replaced_and_none_outlives_the_daemon(folder: Path) -> None:
    daemon = Daemon(folder)
    run_id = journal_steps(daemon, 50_000)
    await daemon.start()
    try:
        await metrics(daemon, run_id, "max_points=100")
        [helper] = psutil.Process(daemon.process.pid).children()
        helper.kill()
        helper.wait(DEADLINE_S)
        assert len((await metrics(daemon, run_id, "max_points=100"))["series"][0]["value"]) <= 100
        [helper] = psutil.Process(daemon.process.pid).children()
    finally:
        await daemon.kill()
    await asyncio.to_thread(helper.wait, DEADLINE_S)
