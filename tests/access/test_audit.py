"""What the real application notes, and what it never does."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from daemon.access.named_tokens import create_token, revoke_token
from tests.access.conftest import Begin, Real


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def noted(real: Real) -> list[dict[str, Any]]:
    """All lines, once the application has ended."""
    await real.end()
    return [json.loads(line) for line in (real.state_dir / "audit.jsonl").read_text().splitlines()]


async def heard(socket: aiohttp.ClientWebSocketResponse, *, is_training: bool) -> None:
    async with asyncio.timeout(60):
        while (message := await socket.receive_json())["type"] != "training_state" or message["data"]["is_training"] != is_training:
            pass


async def test_a_call_that_may_change_something_is_noted_with_who_and_what_and_a_read_is_not(begin: Begin) -> None:
    real = await begin()
    viewer = create_token(real.state_dir, "phone", "viewer", time.time())
    headers = {**bearer(real.token), "X-Request-Id": "mine"}
    assert (await real.ask("POST", "/config/presets/night?category=a&origin=user", headers, json={"config": {"prompt": "CANARY"}}))[
        0
    ] == 200
    assert (await real.ask("POST", "/runs/000001-aaaa/stop", headers, json={}))[0] == 404
    assert (await real.ask("POST", "/training/stop", bearer(viewer), json={})) == (403, "role")
    assert (await real.ask("PUT", "/no/such?secret=CANARY", headers)) == (404, "no_route")
    for path in ("/runs", "/config/presets/night", "/training/status"):
        assert (await real.ask("GET", path, bearer(viewer)))[0] == 200
    found = await noted(real)
    for line in found:
        assert abs(line.pop("ts") - time.time()) < 600
    assert found[0] == {"v": 1, "event": "token.created", "token": "phone", "role": "viewer"}
    assert all(isinstance(line.pop("ms"), float) for line in found[1:])
    first = {"v": 1, "event": "call", "request_id": "mine", "token": "first", "role": "admin", "remote": "127.0.0.1"}
    assert found[1:3] == [
        {**first, "method": "POST", "path": "/config/presets/{name}", "params": {"name": "night"}, "status": 200},
        {
            **first,
            "method": "POST",
            "path": "/runs/{run_id}/stop",
            "params": {"run_id": "000001-aaaa"},
            "status": 404,
            "run_id": "000001-aaaa",
        },
    ]
    assert (found[3]["token"], found[3]["role"], found[3]["path"], found[3]["status"]) == ("phone", "viewer", "/training/stop", 403)
    assert (found[4]["path"], found[4]["status"]) == ("/no/such", 404)
    assert len(found) == 5
    text = (real.state_dir / "audit.jsonl").read_text()
    assert "CANARY" not in text
    assert real.token not in text
    assert viewer not in text


@pytest.mark.torch
async def test_a_run_that_was_asked_for_or_stopped_is_named(begin: Begin, tmp_path: Path) -> None:
    real = await begin()
    config = {"__version": 11, "model_type": "BUILTIN", "workspace_dir": str(tmp_path / "w"), "concepts": [], "prompt": "CANARY"}
    async with real.session.ws_connect(f"{real.url}/ws", headers=bearer(real.token)) as socket:
        async with real.session.post(f"{real.url}/runs", headers=bearer(real.token), json={"config": config, "force": True}) as response:
            answer = await response.json()
        assert response.status == 201, answer
        await heard(socket, is_training=True)
        assert (await real.ask("POST", "/training/stop", bearer(real.token), json={"force": True}))[0] == 200
        await heard(socket, is_training=False)  # so that no process outlives the test
    found = [line for line in await noted(real) if line["event"] == "call"]
    assert [(line["path"], line["status"], line["run_id"]) for line in found] == [
        ("/runs", 201, answer["id"]),
        ("/training/stop", 200, answer["id"]),
    ]
    assert "CANARY" not in str(found)


async def test_refused_logins_are_noted_with_why_and_a_stranger_cannot_fill_the_log(begin: Begin) -> None:
    real = await begin()
    gone = create_token(real.state_dir, "gone", "viewer", time.time())
    assert (await real.ask("GET", "/runs", bearer(gone)))[0] == 200
    revoke_token(real.state_dir, "gone")
    assert await real.ask("GET", "/runs", bearer(gone)) == (401, "bad_token")
    assert await real.ask("GET", "/runs", {}) == (401, "no_token")
    for number in range(100):
        assert (await real.ask("POST", "/training/stop", bearer(f"wrong{number}")))[0] == 401
    assert (await real.ask("POST", "/training/stop", bearer(real.token), json={}))[0] == 409
    found = await noted(real)
    assert [line["event"] for line in found[:3]] == ["token.created", "token.revoked", "login.refused"]
    assert (found[2]["token"], found[2]["code"], found[2]["status"], found[2]["path"]) == (None, "bad_token", 401, "/runs")
    refused = [line for line in found if line["event"] == "login.refused"]
    assert 60 <= len(refused) <= 70
    assert (found[-1]["token"], found[-1]["status"]) == ("first", 409)


async def test_refusals_beyond_the_limit_are_only_counted(begin: Begin) -> None:
    real = await begin(limits={"failed_logins_per_minute": 2, "calls_per_s": 0})
    statuses = [(await real.ask("GET", "/runs", bearer("wrong")))[0] for _ in range(5)]
    assert statuses == [401, 401, 429, 429, 429]
    assert (await real.ask("POST", "/training/stop", {}, json={}))[0] == 401
    found = await noted(real)
    assert [(line["event"], line["status"]) for line in found] == [("login.refused", 401), ("login.refused", 401), ("call", 401)]
    assert found[-1]["withheld"] == 3


async def test_a_log_that_cannot_be_written_fails_no_call(begin: Begin, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state" / "audit.jsonl").mkdir(parents=True)
    real = await begin()
    assert (await real.ask("POST", "/config/presets/night", bearer(real.token), json={"config": {}}))[0] == 200
    async with real.session.get(f"{real.url}/health") as response:
        assert (response.status, (await response.json())["status"]) == (200, "healthy")
    await real.end()
    assert caplog.text.count("calls go on, and are not in it") == 1
