"""What a run leaves in files, over HTTP: its console, samples, backups, config; and one run per Idempotency-Key."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ipc.run_directory import AttemptDirectory
from tests.e2e.conftest import StartDaemon, write_config
from tests.e2e.daemon import DEADLINE_S, Daemon, Json

ROOT = Path(__file__).resolve().parents[2]
NEVER = {"sample_after_unit": "NEVER", "backup_after_unit": "NEVER", "save_every_unit": "NEVER", "backup_before_save": False}


@pytest.fixture
async def daemon(start_daemon: StartDaemon, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """With the stand-in for OneTrainer, which trains in milliseconds."""
    monkeypatch.setenv("ONETRAINER_HOME", str(ROOT / "tests" / "standin"))
    monkeypatch.setenv("ONETRAINER_PYTHON", sys.executable)
    return await start_daemon()


def config_for(folder: Path, **changes: Any) -> Json:
    (folder / "model").mkdir(exist_ok=True)
    return {
        "__version": 11, "training_method": "LORA", "base_model_name": str(folder / "model"), "output_model_format": "LEGACY_LORA",
        "batch_size": 4, "learning_rate": 1e-3, "tensorboard": False, "epochs": 2, "workspace_dir": str(folder / "workspace"),
        "cache_dir": str(folder / "cache"), "output_model_destination": str(folder / "model.safetensors"), "samples": [],
        "concepts": [{"__version": 2, "name": "squares", "path": str(folder / "images"), "seed": 1, "enabled": True}], **NEVER, **changes,
    }  # fmt: skip


async def ended(daemon: Daemon, run_id: str) -> Json:
    """The run, when its log has come to its end."""
    await read_log(daemon, run_id, follow="true")
    run = await daemon.get(f"/runs/{run_id}")
    assert run["state"] in {"completed", "stopped", "failed"}
    return run


async def read_log(daemon: Daemon, run_id: str, **query: Any) -> str:
    async with asyncio.timeout(DEADLINE_S), daemon.client.get(f"/runs/{run_id}/log", params=query) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.text()


async def begin(daemon: Daemon, config: Json, key: str | None = None, **more: Any) -> tuple[Json, bool]:
    """POST /runs: the run, and whether the answer was a replayed one."""
    headers = {"Idempotency-Key": key} if key else {}
    async with daemon.client.post("/runs", json={"config": config, **more}, headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        run: Json = await answer.json()
        return run, answer.headers.get("Idempotency-Replayed") == "true"


class Follower:
    """A client that reads a log as it comes."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.text = ""
        self._answer = answer

    async def wait_for(self, text: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while text not in self.text:
                piece = await self._answer.content.readany()
                assert piece, f"the stream ended without {text!r}: {self.text!r}"
                self.text += piece.decode()

    async def wait_end(self) -> str:
        async with asyncio.timeout(DEADLINE_S):
            self.text += (await self._answer.content.read()).decode()
        return self.text


@asynccontextmanager
async def following(daemon: Daemon, run_id: str, **query: Any) -> AsyncIterator[Follower]:
    async with daemon.client.get(f"/runs/{run_id}/log", params={"follow": "true", **query}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        yield Follower(answer)


async def at_work(daemon: Daemon, folder: Path) -> tuple[str, AttemptDirectory]:
    """A training that goes on until it is stopped, and its first attempt."""
    async with daemon.listen() as listener:
        run, _ = await begin(daemon, config_for(folder, epochs=100_000))
        await listener.wait_step(1)
    return run["id"], daemon.attempt(run["id"])


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


async def test_the_log_gives_the_last_lines_of_an_ended_run(daemon: Daemon, folder: Path) -> None:
    run, _ = await begin(daemon, config_for(folder))
    run = await ended(daemon, run["id"])
    attempt = daemon.attempt(run["id"])
    assert "Saving" in await read_log(daemon, run["id"])
    attempt.console.with_name("console.log.1").write_bytes(b"0\n" * 10)
    attempt.console.write_bytes(b"".join(b"line %d \xff\0\n" % number for number in range(300)))
    assert await read_log(daemon, run["id"], tail=1) == "line 299 \ufffd\ufffd\n"
    assert (await read_log(daemon, run["id"])).count("\n") == 200
    assert (await read_log(daemon, run["id"], tail=301)).startswith("0\nline 0 ")
    assert (await read_log(daemon, run["id"], tail=0, attempt=1)).count("\n") == 310
    attempt.orphan_console.write_text("alone\n")
    assert (await read_log(daemon, run["id"], tail=2)).endswith("\nalone\n")
    async with daemon.client.head(f"/runs/{run['id']}/log?follow=true") as answer:
        assert (answer.status, answer.content_type) == (200, "text/plain")


async def test_the_log_of_odd_runs_and_queries(daemon: Daemon, folder: Path) -> None:
    run, _ = await begin(daemon, config_for(folder))
    await ended(daemon, run["id"])
    for query in ("tail=-1", "tail=10001", "tail=x", "tail=1&tail=2", "follow=perhaps", "attempt=0", "lines=5", f"tail={10**20}"):
        await daemon.get(f"/runs/{run['id']}/log?{query}", status=400)
    assert (await daemon.get(f"/runs/{run['id']}/log?attempt=2", status=404))["details"]["code"] == "no_attempt"
    for identifier in ("000009-abcd", "..%2f..%2fetc", "%00", "x" * 300, "000001-ABCD%0a", "*"):
        for call in ("log", "samples", "backups", "config"):
            await daemon.get(f"/runs/{identifier}/{call}", status=404)


async def test_a_console_that_is_no_file_is_an_empty_one(daemon: Daemon, folder: Path) -> None:
    run, _ = await begin(daemon, config_for(folder))
    await ended(daemon, run["id"])
    attempt = daemon.attempt(run["id"])
    attempt.console.unlink()
    os.mkfifo(attempt.console)
    attempt.console.with_name("console.log.1").symlink_to("/etc/passwd")
    attempt.orphan_console.mkdir()
    assert await read_log(daemon, run["id"]) == ""
    assert await read_log(daemon, run["id"], tail=0, follow="true") == ""


async def test_a_follower_reads_on_across_rotation_and_to_the_end(daemon: Daemon, folder: Path) -> None:
    run_id, attempt = await at_work(daemon, folder)
    append(attempt.console, "first\n")
    async with following(daemon, run_id, tail=0) as follower, following(daemon, run_id, tail=1, attempt=1) as second:
        await follower.wait_for("first\n")
        append(attempt.console, "second\n")
        await follower.wait_for("second\n")
        attempt.console.rename(attempt.console.with_name("console.log.1"))
        append(attempt.console, "third\n")
        await follower.wait_for("third\n")
        await daemon.post(f"/runs/{run_id}/stop", {"grace_s": 10})
        assert (await follower.wait_end()).index("first\nsecond\nthird\n") >= 0
        assert "second\n" in await second.wait_end()
        assert "third\n" in second.text
    assert (await daemon.get(f"/runs/{run_id}"))["state"] == "stopped"


async def test_a_follower_goes_on_to_the_next_attempt_of_a_released_run(daemon: Daemon, folder: Path) -> None:
    run_id, attempt = await at_work(daemon, folder)
    append(attempt.console, "before the release\n")
    async with following(daemon, run_id, tail=0) as follower, following(daemon, run_id, tail=0, attempt=1) as first:
        async with daemon.listen() as listener:
            await daemon.post(f"/runs/{run_id}/pause", {"mode": "release"})
            await first.wait_end()
            assert "before the release" in first.text
            await listener.wait("training_state", lambda state: state["state"] == "released")
            await daemon.post(f"/runs/{run_id}/resume")
            await follower.wait_for("[onetrainerd: attempt 2]\n")
        append(daemon.attempt(run_id, 2).console, "after the resume\n")
        await follower.wait_for("after the resume\n")
        await daemon.post(f"/runs/{run_id}/stop", {})
        text = await follower.wait_end()
    assert text.index("before the release") < text.index("attempt 2") < text.index("after the resume")
    assert "before the release" not in await read_log(daemon, run_id)
    assert "before the release" in await read_log(daemon, run_id, attempt=1)


async def test_a_follower_of_a_queued_run_waits_for_its_start(daemon: Daemon, folder: Path) -> None:
    first, _ = await at_work(daemon, folder)
    queued, _ = await begin(daemon, config_for(folder))
    assert await read_log(daemon, queued["id"]) == ""
    async with following(daemon, queued["id"]) as follower:
        await daemon.post(f"/runs/{first}/stop", {"force": True})
        assert "Saving" in await follower.wait_end()


async def test_a_daemon_that_leaves_cuts_its_followers_instead_of_ending_them(daemon: Daemon, folder: Path) -> None:
    run_id, attempt = await at_work(daemon, folder)
    append(attempt.console, "here\n")
    async with following(daemon, run_id, tail=0) as follower:
        await follower.wait_for("here\n")
        async with asyncio.timeout(DEADLINE_S):
            daemon.process.terminate()
            assert await daemon.process.wait() == 0
        with pytest.raises(aiohttp.ClientPayloadError):
            await follower.wait_end()


async def test_a_client_that_does_not_read_is_cut_off_and_holds_nobody_up(daemon: Daemon, folder: Path) -> None:
    run_id, attempt = await at_work(daemon, folder)
    append(attempt.console, ("x" * 1000 + "\n") * 12_000)
    host, port = daemon.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1000)
    authorization = daemon.client.headers["Authorization"]
    writer.write(f"GET /runs/{run_id}/log?tail=0&follow=true HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\n\r\n".encode())
    assert b"200" in await reader.readline()
    async with following(daemon, run_id, tail=1) as follower:
        await follower.wait_for("x\n")
        async with asyncio.timeout(DEADLINE_S):
            while "is cut off" not in daemon.log():
                append(attempt.console, "still here\n")
                follower.text = ""
                await follower.wait_for("still here\n")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_the_samples_of_a_run_are_its_own_and_tell_which_are_gone(start_daemon: StartDaemon, folder: Path) -> None:
    daemon = await start_daemon()  # the built-in trainer: it draws pictures that are whole
    (folder / "workspace" / "samples" / "custom").mkdir(parents=True)
    foreign = (folder / "images" / "0.png").rename(folder / "workspace" / "samples" / "custom" / "foreign.png")
    os.utime(foreign, (1e9, 1e9))
    await daemon.post("/training/start", {"config_path": write_config(folder)})
    [run] = (await daemon.get("/runs"))["runs"]
    await ended(daemon, run["id"])
    listed = await daemon.get(f"/runs/{run['id']}/samples")
    drawn = {str(path) for path in (folder / "workspace" / "samples").glob("0*/*.png")}
    assert len(drawn) >= 2
    assert listed["count"] == len(listed["samples"])
    assert {sample["path"] for sample in listed["samples"]} == drawn
    assert [sample["step"] for sample in listed["samples"]] == sorted((sample["step"] for sample in listed["samples"]), reverse=True)
    assert {(sample["prompt"], sample["seed"], sample["kind"], sample["exists"]) for sample in listed["samples"]} == {
        ("a square", 3, "default", True)
    }
    Path(listed["samples"][0]["path"]).unlink()
    again = (await daemon.get(f"/runs/{run['id']}/samples?limit=1"))["samples"]
    assert [(sample["id"], sample["exists"]) for sample in again] == [(listed["samples"][0]["id"], False)]
    await daemon.get(f"/samples/{listed['samples'][1]['id']}/x", status=404)
    for query in ("limit=0", "limit=10001", "samples_dir=x"):
        await daemon.get(f"/runs/{run['id']}/samples?{query}", status=400)


async def test_backups_and_saves_are_listed_with_what_made_them(daemon: Daemon, folder: Path) -> None:
    foreign = folder / "workspace" / "backup" / "2020-01-01_00-00-00-backup-77-1-2"
    foreign.mkdir(parents=True)
    (foreign / "weights").write_bytes(b"x" * 1000)
    (foreign / "link").symlink_to("/etc")
    os.utime(foreign, (1e9, 1e9))
    (folder / "workspace" / "backup" / "elsewhere").symlink_to(foreign)
    changes = {"backup_after": 3, "backup_after_unit": "STEP", "save_every": 4, "save_every_unit": "STEP", "backup_before_save": True}
    run, _ = await begin(daemon, config_for(folder, **changes))
    run = await ended(daemon, run["id"])
    listed = await daemon.get(f"/runs/{run['id']}/backups")
    assert listed["count"] == len(listed["backups"]) >= 3
    newest, *_, oldest = listed["backups"]
    assert newest["path"] == run["last_backup"]
    assert (newest["own"], newest["trigger"], newest["is_whole"], newest["global_step"]) == (True, "final", True, 8)
    assert {backup["trigger"] for backup in listed["backups"]} == {"final", "interval", None}
    assert (oldest["name"], oldest["is_whole"], oldest["own"], oldest["trigger"]) == (foreign.name, False, False, None)
    assert (oldest["global_step"], oldest["epoch"], oldest["epoch_step"], oldest["size_bytes"]) == (77, 1, 2, 1000)
    assert listed["saves"]
    for save in listed["saves"]:
        assert (save["own"], save["trigger"]) == (True, "interval")
        assert save["size_bytes"] == Path(save["path"]).stat().st_size
        assert str(save["global_step"]) in save["name"]
    assert [one["name"] for one in (await daemon.get(f"/runs/{run['id']}/backups?limit=1"))["backups"]] == [newest["name"]]


async def test_a_run_goes_on_from_a_chosen_backup(daemon: Daemon, folder: Path) -> None:
    run, _ = await begin(daemon, config_for(folder, backup_after=3, backup_after_unit="STEP"))
    await ended(daemon, run["id"])
    chosen = (await daemon.get(f"/runs/{run['id']}/backups"))["backups"][-1]
    for text in (chosen["name"], chosen["path"], f"{folder}/workspace/./backup/{chosen['name']}"):
        second, _ = await begin(daemon, config_for(folder), continue_from=text)
        second = await ended(daemon, second["id"])
        assert (second["state"], second["continued_from"]) == ("completed", chosen["path"])
        events = (await daemon.get(f"/runs/{second['id']}/events"))["events"]
        assert [event["global_step"] for event in events if event["type"] == "continued"] == [chosen["global_step"]]
    torn = folder / "workspace" / "backup" / "torn"
    torn.mkdir()
    count = (await daemon.get("/runs"))["count"]
    cases = [
        ("torn", 400, "backup_not_whole"), ("nowhere", 404, "no_backup"), ("/etc", 403, "outside_roots"), ("", 400, "invalid_body"),
        ("..", 400, "backup_not_whole"), ("../../../etc", 403, "outside_roots"), (f"{chosen['path']}/meta.json", 404, "no_backup"),
        ("a\0b", 400, "invalid"), ("x" * 300, 400, "invalid"), ("x" * 5000, 400, "invalid_body"), (5, 400, "invalid_body"),
    ]  # fmt: skip
    for text, status, code in cases:
        answer = await daemon.post("/runs", {"config": config_for(folder), "continue_from": text}, status=status)
        assert answer["details"]["code"] == code, (text, answer)
        assert "continue_from" in answer["message"]
    assert (await daemon.get("/runs"))["count"] == count


async def test_the_config_of_a_run_is_what_it_was_given_without_secrets(daemon: Daemon, folder: Path) -> None:
    config = config_for(folder)
    hidden = {"huggingface_token": "open sesame", "cloud": {"api_key": "open sesame", "port": 22}}
    run, _ = await begin(daemon, {**config, "secrets": hidden})
    run = await ended(daemon, run["id"])
    assert run["state"] == "completed"
    assert (await daemon.get(f"/runs/{run['id']}/config"))["config"] == config
    assert (await daemon.get("/config/current"))["config"] == config
    for path in daemon.state_dir.rglob("*"):
        if path.is_file():
            assert b"open sesame" not in path.read_bytes(), path
    await daemon.call("PUT", "/config/current", {"config": {**config, "secrets": hidden}})
    async with daemon.client.post("/runs", json={}) as answer:
        second = await answer.json()
    await ended(daemon, second["id"])
    assert (await daemon.get(f"/runs/{second['id']}/config"))["config"] == config
    assert (await daemon.get("/config/current"))["config"] == config
    kept = daemon.state_dir / "current.secrets.json"
    assert (json.loads(kept.read_bytes()), kept.stat().st_mode & 0o777) == (hidden, 0o600)
    stored = daemon.state_dir / "runs" / run["id"] / "config.json"
    stored.write_text(json.dumps({"cloud": {"password": "old", "port": 1}, "secrets": {"huggingface_token": "old"}}))
    assert (await daemon.get(f"/runs/{run['id']}/config"))["config"] == {"cloud": {"password": "***", "port": 1}}
    stored.unlink()
    os.mkfifo(stored)
    assert (await daemon.get(f"/runs/{run['id']}/config", status=404))["details"]["code"] == "no_config"
    await daemon.post("/runs", {"config": {**config, "secrets": "open sesame"}}, status=400)


async def test_the_same_key_gives_the_same_run_also_after_a_restart(daemon: Daemon, start_daemon: StartDaemon, folder: Path) -> None:
    config = config_for(folder)
    answers = await asyncio.gather(*(begin(daemon, config, "one") for _ in range(8)))
    assert len({run["id"] for run, _ in answers}) == 1
    assert sorted(is_replayed for _, is_replayed in answers) == [False] + [True] * 7
    run_id = answers[0][0]["id"]
    reordered = dict(reversed(config.items()))
    assert await begin(daemon, reordered, "one", name=None) == (await daemon.get(f"/runs/{run_id}"), True)
    other, is_replayed = await begin(daemon, config, "two")
    assert (other["id"] != run_id, is_replayed) == (True, False)
    async with daemon.client.post("/runs", json={"config": {**config, "epochs": 3}}, headers={"Idempotency-Key": "one"}) as answer:
        assert (answer.status, (await answer.json())["details"]["code"]) == (409, "idempotency_mismatch")
    await daemon.kill()
    again = await start_daemon()
    assert (await begin(again, config, "one"))[1]
    assert (await again.get("/runs"))["count"] == 2
    assert "one" not in json.loads((again.state_dir / "runs" / run_id / "run.json").read_text())["idempotency"].values()


async def test_a_start_with_a_key_is_carried_out_once(daemon: Daemon, folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(json.dumps(config_for(folder, epochs=100_000)))

    async def start(key: str, path: str = str(config), where: str = "/training/start") -> tuple[int, str | None]:
        async with daemon.client.post(where, json={"config_path": path}, headers={"Idempotency-Key": key}) as answer:
            return answer.status, answer.headers.get("Idempotency-Replayed")

    assert await start("k", "nowhere.json") == (404, None)  # no run, so the key is still free
    answers = await asyncio.gather(*(start("k") for _ in range(5)), start("k", where="/api/training/start"))
    assert sorted(answers, key=str) == [(200, "true")] * 5 + [(200, None)]
    assert await start("other") == (409, None)
    assert await start("k", "nowhere.json") == (409, None)
    async with daemon.client.post("/runs", json={"config_path": str(config)}, headers={"Idempotency-Key": "k"}) as answer:
        assert answer.status == 409
    assert (await daemon.get("/runs"))["count"] == 1


async def test_odd_keys_are_refused(daemon: Daemon, folder: Path) -> None:
    body = json.dumps({"config": config_for(folder)})
    for keys in ([""], ["a b"], ["x" * 256], ["ü"], ["a", "b"]):
        headers = [("Content-Type", "application/json"), *(("Idempotency-Key", key) for key in keys)]
        async with daemon.client.post("/runs", data=body, headers=headers) as answer:
            assert (answer.status, (await answer.json())["details"]["code"]) == (400, "bad_idempotency_key"), keys
    assert (await daemon.get("/runs"))["count"] == 0
    await begin(daemon, config_for(folder), "!" + "~" * 254)


async def test_a_follower_goes_over_a_restart_and_one_of_a_single_attempt_ends_before_it(daemon: Daemon, folder: Path) -> None:
    config = config_for(folder, epochs=100_000, backup_after=2, backup_after_unit="STEP")
    async with daemon.listen() as listener:
        run, _ = await begin(daemon, config, restart={"max_restarts": 1, "backoff_s": 1.0, "on": ["killed"]})
        await listener.wait_step(3)
    async with following(daemon, run["id"], tail=0) as follower, following(daemon, run["id"], attempt=1) as first:
        append(daemon.attempt(run["id"]).console, "before\n")
        await follower.wait_for("before\n")
        daemon.process_of(run["id"], "trainer").send_signal(signal.SIGKILL)
        assert "attempt 2" not in await first.wait_end()
        await follower.wait_for("[onetrainerd: attempt 2]\n")
        async with daemon.listen() as listener:
            await listener.wait_step(3)
        await daemon.post(f"/runs/{run['id']}/stop", {"force": True})
        await follower.wait_end()
    assert (await daemon.get(f"/runs/{run['id']}"))["attempt"] == 2
