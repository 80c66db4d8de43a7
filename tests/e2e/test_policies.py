"""Restart policy and stall watch over REST and WebSocket: a real daemon, a real runner, the real built-in trainer."""

import json
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import LONG, StartDaemon, make_config
from tests.e2e.daemon import Daemon

pytestmark = pytest.mark.torch


async def test_a_killed_training_goes_on_from_its_backup_after_a_wait_that_clients_see(start_daemon: StartDaemon, folder: Path) -> None:
    daemon = await start_daemon()
    order = {"config": make_config(folder, **LONG), "restart": {"on": ["killed"], "backoff_s": 2, "max_restarts": 1}}
    async with daemon.listen() as listener:
        run_id = (await daemon.post("/runs", order, status=201))["id"]
        await listener.wait_step(1)
        await daemon.post("/training/backup")
        await listener.wait("log", lambda data: data["message"].startswith("backup at step"))
        daemon.process_of(run_id, "trainer").send_signal(signal.SIGKILL)
        line = await listener.wait("log", lambda data: "restart 1 of 1 at" in data["message"])
        assert "SIGKILL" in line["message"]
        state = await listener.wait("training_state", lambda data: data.get("state") == "waiting_restart")
        assert (state["status"], state["is_training"]) == ("stopping", True)
        cursor = listener.cursor
    assert not [message for message in listener.heard if message["type"] == "training_state" and message["data"]["status"] == "error"]
    await daemon.kill()
    daemon = await start_daemon()
    async with daemon.listen(cursor) as listener:
        await listener.wait("training_state", lambda data: data.get("state") == "training")
        run = await daemon.get(f"/runs/{run_id}")
        assert (run["attempt"], run["restarts"], run["restart"]["on"], run["restart"]["max_restarts"]) == (2, 1, ["killed"], 1)
        assert run["continued_from"] == run["last_backup"] is not None
        daemon.process_of(run_id, "trainer", attempt=2).send_signal(signal.SIGKILL)
        end = await listener.wait_status("error")
    assert "given up after 1 restart" in end["error"]


async def test_odd_policies_are_refused_and_the_settings_fill_what_is_left_out(daemon: Daemon, folder: Path) -> None:
    config = make_config(folder)
    for policy, told in (
        ({"restart": {"on": ["completed"]}}, "restart.on"),
        ({"restart": {"max_restarts": -1}}, "max_restarts"),
        ({"restart": {"backof_s": 1}}, "backof_s"),
        ({"stall": {"action": "shout"}}, "stall.action"),
        ({"stall": {"after_s": "long"}}, "after_s"),
        ({"force": "yes"}, "force"),
    ):
        answer = await daemon.post("/runs", {"config": config, **policy}, status=400)
        assert told in json.dumps(answer), answer
    run = await daemon.post("/runs", {"config": config, "restart": {"on": ["crash"]}, "stall": {"after_s": 5}, "force": True}, status=201)
    assert run["restart"] == {"on": ["crash"], "max_restarts": 5, "backoff_s": 10, "backoff_max_s": 600, "reset_after_s": 1800}
    assert (run["stall"], run["disk"], run["restart_at"]) == ({"after_s": 5, "action": "tell"}, "ok", None)
    assert (await daemon.get("/health"))["disk"] == "ok"
