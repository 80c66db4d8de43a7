"""The rows of the seed API that need no training, and the refusals of those that do, over HTTP against a daemon process."""

import asyncio
import io
import json
from pathlib import Path

import aiohttp
import pytest
from openapi_spec_validator import validate

from tests.e2e.conftest import StartDaemon, make_config, write_config
from tests.e2e.daemon import Daemon

COMMANDS = ["stop", "pause", "resume", "sample", "backup", "save"]


async def test_nothing_runs_at_first_and_everything_says_so(daemon: Daemon) -> None:
    assert await daemon.get("/training/status") == {"is_training": False, "status": "idle", "error": None}
    assert await daemon.get("/training/progress") == {"progress": None, "max_step": 0, "max_epoch": 0}
    assert await daemon.get("/health") == {"status": "healthy", "training_active": False, "trainer_status": "idle", "disk": "ok"}
    assert await daemon.get("/samples") == {"samples": [], "count": 0, "next": None}
    assert await daemon.get("/runs") == {"runs": [], "count": 0}
    async with daemon.listen() as listener:
        assert await listener.wait("connected") == {
            "is_training": False, "status": "idle", "progress": None, "max_step": 0, "max_epoch": 0, "error": None,
        }  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize("path", [*(f"/training/{command}" for command in COMMANDS), "/samples/generate", "/samples/generate/default"])
async def test_an_order_without_a_training_is_a_conflict(daemon: Daemon, prefix: str, path: str) -> None:
    body = {"prompt": "x"} if path == "/samples/generate" else {}
    answer = await daemon.post(prefix + path, body, status=409)
    assert (answer["error"], answer["details"]["code"]) == ("Conflict", "no_run")
    assert "/training/start" in answer["message"]


async def test_a_start_that_cannot_be_is_refused_before_a_process_exists(daemon: Daemon, folder: Path) -> None:
    (folder / "broken.json").write_text('{"epochs": ')
    (folder / "list.json").write_text("[]")
    cases: list[tuple[object, int, str]] = [
        ({"config_path": "nowhere.json"}, 404, "nowhere.json"),
        ({"config_path": "broken.json"}, 400, "broken.json"),
        ({"config_path": "list.json"}, 400, "object"),
        ({"config_path": str(folder)}, 400, "not a"),
        ({"config_path": "/etc/passwd"}, 403, "paths.roots"),
        ({"config_path": 5}, 400, "config_path"),
        ({}, 400, "config_path"),
        ({"config_path": ""}, 404, "current"),
        ({"config_path": write_config(folder), "secret_path": "x"}, 400, "secrets_path"),
        ({"config_path": write_config(folder), "secrets_path": "none.json"}, 404, "none.json"),
        ({"config_path": write_config(folder, "a.json", epochs="two")}, 400, "epochs"),
        ({"config_path": write_config(folder, "b.json", workspace_dir="/etc/x")}, 400, "workspace_dir"),
        ({"config_path": write_config(folder, "c.json", concepts=[{"path": "nowhere", "enabled": True}])}, 400, "nowhere"),
    ]
    for body, status, told in cases:
        answer = await daemon.post("/training/start", body, status=status)
        assert told in json.dumps(answer), (body, answer)
    assert await daemon.get("/runs") == {"runs": [], "count": 0}
    assert (await daemon.get("/training/status"))["status"] == "idle"


async def test_presets_are_listed_read_saved_merged_and_deleted(daemon: Daemon, folder: Path) -> None:
    listed = await daemon.get("/config/presets")
    assert {"digits", "quick"} <= {preset["name"] for preset in listed["presets"]}
    assert listed["count"] == len(listed["presets"])
    name = "my #1 préset"
    path = "/config/presets/my%20%231%20pr%C3%A9set"
    await daemon.post(path, {"config": {"epochs": 3, "optimizer": {"a": 1}}})
    await daemon.post(path, {"config": {"optimizer": {"b": 2}}, "partial": True})
    assert (await daemon.get(path))["config"] == {"epochs": 3, "optimizer": {"a": 1, "b": 2}}
    assert name in [preset["name"] for preset in (await daemon.get("/config/presets"))["presets"]]
    (folder / "more").mkdir()
    (folder / "more" / "own.json").write_text("{}")
    assert [preset["name"] for preset in (await daemon.get("/config/presets?config_dir=more"))["presets"]] == ["own"]
    await daemon.call("DELETE", path)
    await daemon.get(path, status=404)
    await daemon.call("DELETE", path, status=404)
    await daemon.post("/config/presets/digits", {"config": {}}, status=409)
    await daemon.call("DELETE", "/config/presets/digits", status=409)
    for bad in ("..%2F..%2Fetc", "%00", ".hidden"):
        await daemon.post(f"/config/presets/{bad}", {"config": {}}, status=400)
    await daemon.get("/config/presets?config_dir=/etc", status=403)


async def test_the_current_config_is_put_merged_and_validated(daemon: Daemon, folder: Path) -> None:
    await daemon.get("/config/current", status=404)
    await daemon.call("PUT", "/config/current", {"config": {"epochs": 3, "samples": [1, 2]}})
    await daemon.call("PUT", "/config/current", {"config": {"samples": [3]}, "partial": True})
    assert (await daemon.get("/config/current"))["config"] == {"epochs": 3, "samples": [3]}
    await daemon.call("PUT", "/config/current", {"config": 5}, status=400)
    good = await daemon.post("/config/validate", {"config": make_config(folder)})
    assert (good["valid"], good["errors"]) == (True, [])
    bad = await daemon.post("/config/validate", {"config": make_config(folder, epochs="two", learning_rat=1)})
    assert not bad["valid"]
    assert "epochs" in bad["errors"][0]
    assert any("learning_rate" in warning for warning in bad["warnings"])


async def test_the_system_is_described(daemon: Daemon) -> None:
    info = await daemon.get("/system/info")
    assert info["memory_total"] > info["memory_available"] > 0
    assert info["torch_version"].startswith("2.")
    assert {"gpus", "cpu_count", "python_version", "cuda_available", "cuda_version"} <= set(info)
    models = await daemon.get("/system/models")
    assert models["count"] == len(models["models"]) > 20


async def test_samples_of_any_folder_are_listed_and_only_whole_pictures_served(daemon: Daemon, folder: Path) -> None:
    listed = await daemon.get("/samples?limit=3&samples_dir=images")
    assert listed["count"] == 3
    identifier = listed["samples"][0]["id"]
    async with daemon.client.get(f"/samples/{identifier}", headers={"Range": "bytes=0-7"}) as part:
        assert (part.status, await part.read()) == (206, b"\x89PNG\r\n\x1a\n")
    async with daemon.client.get(f"/samples/{identifier}") as whole:
        assert whole.headers["X-Content-Type-Options"] == "nosniff"
        etag = whole.headers["ETag"]
    async with daemon.client.get(f"/samples/{identifier}", headers={"If-None-Match": etag}) as again:
        assert again.status == 304
    await daemon.get("/samples/nonsense", status=404)
    await daemon.get("/samples?limit=0", status=400)
    await daemon.get("/samples?samples_dir=/etc", status=403)


async def test_errors_have_one_form_also_the_routers_own(daemon: Daemon) -> None:
    cases = [
        ("GET", "/nowhere", None, 404, "NotFound"),
        ("DELETE", "/training/start", None, 405, "MethodNotAllowed"),
        ("POST", "/training/start", b"{", 400, "BadRequest"),
        ("POST", "/training/start", io.BytesIO(b"x" * (9 << 20)), 413, "PayloadTooLarge"),
        ("GET", "/runs/000001-abcd", None, 404, "NotFound"),
        ("GET", "/ws?cursor=nonsense", None, 400, "BadRequest"),
    ]
    for method, path, data, status, kind in cases:
        async with daemon.client.request(method, path, data=data, headers={"Content-Type": "application/json"}) as answer:
            body = await answer.json()
            assert (answer.status, body["error"]) == (status, kind)
            assert body["message"]
            assert "details" in body
    async with daemon.client.post("/training/start", data={"config_path": "x"}) as answer:
        assert (answer.status, (await answer.json())["error"]) == (415, "UnsupportedMediaType")


async def test_without_the_token_nothing_but_health_answers(daemon: Daemon) -> None:
    async with aiohttp.ClientSession(daemon.url) as stranger:
        for path in ("/training/status", "/runs", "/ws", "/openapi.json", "/nowhere"):
            async with stranger.get(path) as answer:
                assert answer.status == 401
        async with stranger.get("/health") as answer:
            assert answer.status == 200
    token = (daemon.state_dir / "token").read_text().strip()
    async with aiohttp.ClientSession(daemon.url) as browser:
        protocols = ("onetrainerd", f"onetrainerd.token.{token}")
        async with browser.ws_connect("/ws", protocols=protocols) as socket:
            assert socket.protocol == "onetrainerd"
            assert (await socket.receive_json())["type"] == "connected"


async def test_the_seeds_own_examples_work_without_a_token_on_loopback(start_daemon: StartDaemon) -> None:
    daemon = await start_daemon("--auth", "none")
    async with aiohttp.ClientSession(daemon.url) as client, client.get("/samples?limit=10") as answer:
        assert answer.status == 200
    config = {"config": {"model_type": "FLUX_DEV_1", "training_method": "LORA"}}
    assert "valid" in await daemon.post("/config/validate", config)


async def test_the_websocket_answers_pings_and_survives_nonsense(daemon: Daemon) -> None:
    async with daemon.listen() as listener:
        for ping in ("ping", '{"type":"ping"}', '{"type": "ping"}'):
            await listener.socket.send_str(ping)
            await listener.wait("pong")
            listener.heard = [message for message in listener.heard if message["type"] != "pong"]
        for nonsense in ("", "{", '{"type":"pong"}', "x" * 1000):
            await listener.socket.send_str(nonsense)
        await listener.socket.send_bytes(b"\0\xff")
        await listener.socket.send_str("ping")
        await listener.wait("pong")


async def test_the_openapi_document_is_valid_and_knows_every_route(daemon: Daemon) -> None:
    document = await daemon.get("/openapi.json")
    await asyncio.to_thread(validate, document)
    assert document["openapi"].startswith("3.1")
    for path in ("/training/start", "/runs/{run_id}/events", "/ws", "/samples/{sample_id}", "/health"):
        assert path in document["paths"]
