"""Trainings over REST and WebSocket: a real daemon, a real runner, the real built-in trainer."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import LONG, StartDaemon, write_config
from tests.e2e.daemon import Daemon

pytestmark = pytest.mark.torch


async def test_a_training_is_started_watched_sampled_and_finished(daemon: Daemon, folder: Path) -> None:
    async with daemon.listen() as listener:
        assert (await listener.wait("connected"))["status"] == "idle"
        answer = await daemon.post("/training/start", {"config_path": write_config(folder)})
        assert answer == {"success": True, "message": "Training started successfully"}
        assert (await listener.wait_status("starting"))["is_training"] is True
        progress = await listener.wait_step(1)
        assert progress["total_steps"] == 4
        assert progress["total_global_steps"] == 8
        assert isinstance(progress["loss"], float)
        assert (await listener.wait("sampling"))["total"] >= 1
        sample = await listener.wait("sample_default")
        end = await listener.wait_status("completed")
        assert (end["is_training"], end["error"], end["progress"]["global_step"]) == (False, None, 8)
        steps = [message["data"]["global_step"] for message in listener.heard if message["type"] == "progress"]
        assert steps == list(range(1, 9))
        assert len({message["run_id"] for message in listener.heard[1:]}) == 1
    assert sample["prompt"] == "a square"
    async with daemon.client.get(f"/samples/{sample['id']}") as picture:
        assert picture.status == 200
        assert picture.content_type == "image/png"
        assert await picture.read() == Path(sample["path"]).read_bytes()
    listed = await daemon.get("/samples")
    assert sample["id"] in [item["id"] for item in listed["samples"]]
    assert (folder / "model.safetensors").is_file()
    assert (await daemon.get("/training/status"))["status"] == "completed"
    assert (await daemon.get("/training/progress"))["progress"]["global_step"] == 8
    assert (await daemon.get("/config/current"))["config"]["epochs"] == 2
    run = (await daemon.get("/runs"))["runs"][0]
    assert (run["state"], run["cause"], run["exit"]["code"]) == ("completed", "completed", 0)


async def test_commands_reach_the_training_and_their_files_appear(daemon: Daemon, folder: Path) -> None:
    async with daemon.listen() as listener:
        await daemon.post("/training/start", {"config_path": write_config(folder, **LONG)})
        await listener.wait_step(1)
        conflict = await daemon.post("/training/start", {"config_path": write_config(folder, **LONG)}, status=409)
        assert conflict["details"]["code"] == "run_active"
        assert (await daemon.call("PUT", "/config/current", {"config": {}}, status=409))["error"] == "Conflict"
        for path in ("/training/sample", "/samples/generate/default"):
            assert (await daemon.post(path))["success"] is True
        assert (await listener.wait("sample_default"))["kind"] == "default"
        asked = {"prompt": "a circle", "seed": 5, "diffusion_steps": 3, "cfg_scale": 2.0}
        assert (await daemon.post("/samples/generate", asked))["message"] == "Sample generation requested"
        custom = await listener.wait("sample_custom")
        assert (custom["prompt"], custom["seed"], custom["kind"]) == ("a circle", 5, "custom")
        assert (await daemon.post("/training/backup"))["success"] is True
        backup = await listener.wait("log", lambda data: data["message"].startswith("backup"))
        assert (Path(backup["message"].split(": ", 1)[1]) / "meta.json").is_file()
        assert (await daemon.post("/training/save"))["success"] is True
        await listener.wait("log", lambda data: data["message"].startswith("saved"))
        assert list((folder / "workspace" / "save").glob("*.safetensors"))
        status = await daemon.get("/training/status")
        assert (status["is_training"], status["status"]) == (True, "training")
        assert await daemon.post("/training/stop") == {"success": True, "message": "Stop command sent"}
        await listener.wait_status("stopped")
        assert (await daemon.post("/training/stop", status=409))["details"]["code"] == "no_run"
    assert (folder / "model.safetensors").is_file()


async def test_pause_holds_and_resume_goes_on(daemon: Daemon, folder: Path) -> None:
    async with daemon.listen() as listener:
        await daemon.post("/training/start", {"config_path": write_config(folder, **LONG)})
        await listener.wait_step(3)
        assert (await daemon.post("/training/resume", status=409))["details"]["code"] == "wrong_state"
        assert (await daemon.post("/training/pause"))["message"] == "Training paused"
        held = (await listener.wait_status("paused"))["progress"]["global_step"]
        assert (await daemon.get("/training/status"))["status"] == "paused"
        await daemon.post("/training/sample")
        await listener.wait("sample_default")
        assert (await daemon.get("/training/progress"))["progress"]["global_step"] == held
        await daemon.post("/training/resume")
        await listener.wait_step(held + 1)
        await daemon.post("/training/pause")
        await daemon.post("/training/stop")
        await listener.wait_status("stopped")


async def test_release_frees_the_trainer_and_resume_goes_on_as_the_same_run(daemon: Daemon, folder: Path) -> None:
    async with daemon.listen() as listener:
        await daemon.post("/training/start", {"config_path": write_config(folder, **LONG)})
        await listener.wait_step(5)
        run_id = (await daemon.get("/runs"))["runs"][0]["id"]
        trainer = daemon.process_of(run_id, "trainer")
        await daemon.post("/training/pause", {"mode": "release"})
        await listener.wait("training_state", lambda data: data["state"] == "released")
        assert not trainer.is_alive()
        assert not (folder / "model.safetensors").exists()
        run = await daemon.get(f"/runs/{run_id}")
        step = run["progress"]["global_step"]
        assert (Path(run["last_backup"]) / "meta.json").is_file()
        await daemon.post("/training/resume")
        await listener.wait("progress", lambda data: data["global_step"] == step + 1)
        resumed = await daemon.get(f"/runs/{run_id}")
        assert (resumed["attempt"], resumed["continued_from"]) == (2, run["last_backup"])
        await daemon.post("/training/stop")
        await listener.wait_status("stopped")


async def test_of_eight_starts_at_the_same_moment_one_wins(daemon: Daemon, folder: Path) -> None:
    path = write_config(folder, **LONG)

    async def start() -> int:
        async with daemon.client.post("/training/start", json={"config_path": path}) as answer:
            return answer.status

    statuses = await asyncio.gather(*(start() for _ in range(8)))
    assert sorted(statuses) == [200] + [409] * 7


async def test_a_killed_trainer_is_told_with_its_signal_and_the_next_start_works(daemon: Daemon, folder: Path) -> None:
    async with daemon.listen() as listener:
        await daemon.post("/training/start", {"config_path": write_config(folder, **LONG)})
        await listener.wait_step(1)
        run_id = (await daemon.get("/runs"))["runs"][0]["id"]
        daemon.process_of(run_id, "trainer").send_signal(signal.SIGKILL)
        end = await listener.wait_status("error")
        assert "SIGKILL" in end["error"]
        run = await daemon.get(f"/runs/{run_id}")
        assert (run["state"], run["cause"], run["exit"]["signal"]) == ("failed", "killed", "SIGKILL")
        assert (await daemon.get("/health"))["status"] == "healthy"
    async with daemon.listen() as listener:
        await daemon.post("/training/start", {"config_path": write_config(folder)})
        await listener.wait_status("completed")


async def test_a_killed_daemon_loses_no_training_and_its_clients_no_message(start_daemon: StartDaemon, folder: Path) -> None:
    daemon = await start_daemon()
    async with daemon.listen() as listener:
        await daemon.post("/training/start", {"config_path": write_config(folder, epochs=60, sample_after=20)})
        await listener.wait_step(10)
        before, cursor = listener.heard, listener.cursor
        run_id = before[-1]["run_id"]
        trainer = daemon.process_of(run_id, "trainer")
    await daemon.kill()
    daemon = await start_daemon()
    assert trainer.is_alive()
    assert (await daemon.get("/health"))["training_active"] is True
    async with daemon.listen(cursor) as listener:
        await listener.wait_status("completed")
        after = listener.heard[1:]
    messages = [(message["type"], json.dumps(message["data"])) for message in before[1:] + after]
    async with daemon.listen(before[0]["cursor"]) as listener:
        await listener.wait_status("completed")
        assert [(message["type"], json.dumps(message["data"])) for message in listener.heard[1:]] == messages
    steps = [message["data"]["global_step"] for message in before + after if message["type"] == "progress"]
    assert steps == list(range(1, 241))
    assert len([kind for kind, _ in messages if kind == "sample_default"]) == len(list((folder / "workspace" / "samples").rglob("*.png")))


async def test_a_daemon_that_is_told_to_stop_leaves_the_training_alone(start_daemon: StartDaemon, folder: Path) -> None:
    daemon = await start_daemon()
    async with daemon.listen() as listener:
        await daemon.post("/training/start", {"config_path": write_config(folder, **LONG)})
        await listener.wait_step(1)
        trainer = daemon.process_of(listener.heard[-1]["run_id"], "trainer")
        assert await daemon.stop() == 0
    assert trainer.is_alive()


async def test_a_killed_runner_means_a_lost_run_whose_trainer_saves_and_ends_by_itself(daemon: Daemon, folder: Path) -> None:
    async with daemon.listen() as listener:
        await daemon.post("/training/start", {"config_path": write_config(folder, **LONG)})
        await listener.wait_step(2)
        run_id = listener.heard[-1]["run_id"]
        daemon.process_of(run_id, "runner").send_signal(signal.SIGKILL)
        await listener.wait("training_state", lambda data: data["state"] == "lost")
        end = await listener.wait("training_state", lambda data: data["error"] is not None and "ended by itself" in data["error"])
        assert end["state"] == "lost"
    run = await daemon.get(f"/runs/{run_id}")
    assert (Path(run["last_backup"]) / "meta.json").is_file()
    assert (folder / "model.safetensors").is_file()
    await daemon.post("/training/start", {"config_path": write_config(folder)})


async def test_a_finished_training_continues_from_its_backup(daemon: Daemon, folder: Path) -> None:
    async with daemon.listen() as listener:
        await daemon.post("/training/start", {"config_path": write_config(folder, backup_before_save=True)})
        await listener.wait_status("completed")
    async with daemon.listen() as listener:
        path = write_config(folder, epochs=4, continue_last_backup=True)
        await daemon.post("/training/start", {"config_path": path})
        end = await listener.wait_status("completed")
        steps = [message["data"]["global_step"] for message in listener.heard if message["type"] == "progress"]
    assert steps == list(range(9, 17))
    assert end["progress"]["global_step"] == 16


async def test_the_daemon_stays_small_and_without_torch(daemon: Daemon, folder: Path) -> None:
    async with daemon.listen() as listener:
        await daemon.post("/training/start", {"config_path": write_config(folder, **LONG)})
        await listener.wait_step(50)
        status = Path(f"/proc/{daemon.process.pid}/status").read_text()
        assert int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) < 80 * 1024
        assert "torch" not in Path(f"/proc/{daemon.process.pid}/maps").read_text()
        runner = daemon.process_of(listener.heard[-1]["run_id"], "runner")
        status = Path(f"/proc/{runner.pid}/status").read_text()
        assert int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) < 15 * 1024
