"""Schema, validation in both depths and the refusal of a start, over HTTP against a daemon process."""

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jsonschema import Draft202012Validator

from tests.contract.driver import ROOT
from tests.e2e.conftest import LONG, StartDaemon, make_config
from tests.e2e.daemon import Daemon


def files_in(folder: Path) -> set[Path]:
    """Without what the daemon writes by itself, asked or not."""
    own = {"audit.jsonl", "trainer.json", "catalog.json"}
    return {path for path in folder.rglob("*") if path.name not in own and not path.name.startswith("tmp")}


async def test_the_built_in_trainer_tells_its_schema_and_reads_configs_in_both_depths(daemon: Daemon, folder: Path) -> None:
    schema = await daemon.get("/config/schema")
    Draft202012Validator.check_schema(schema)
    assert schema["x-catalog"]["backend"] == "builtin"
    for query in ("", "?deep=true"):
        good = await daemon.post(f"/config/validate{query}", {"config": make_config(folder)})
        assert (good["valid"], good["errors"]) == (True, [])
        wrong = await daemon.post(f"/config/validate{query}", {"config": make_config(folder, epochs="two", batch_size=17)})
        assert next(finding["pointer"] for finding in wrong["findings"] if finding["level"] == "error") == "/epochs"
    deep = await daemon.post("/config/validate?deep=true", {"config": {**make_config(folder), "secrets": {"huggingface_token": "hf_x"}}})
    assert deep["config"]["rolling_backup_count"] == 3
    assert "hf_x" not in json.dumps(deep)


async def test_the_rules_of_the_built_in_trainer_hold_at_a_start(daemon: Daemon, folder: Path) -> None:
    for change, pointer in (
        ({"batch_size": 17}, "/batch_size"), ({"resolution": "17"}, "/resolution"), ({"concepts": []}, "/concepts"),
        ({"concepts": None}, "/concept_file_name"), ({"workspace_dir": str(folder / "images" / "1.png")}, "/workspace_dir"),
    ):  # fmt: skip
        answer = await daemon.post("/runs", {"config": make_config(folder, **change)}, status=400)
        assert answer["details"]["code"] == "invalid_config"
        assert answer["details"]["config_errors"][0].startswith(f"{pointer}: ")
    assert (await daemon.get("/runs"))["count"] == 0
    run = await daemon.post("/runs", {"config": make_config(folder, batch_size=17), "force": True}, status=201)
    async with daemon.listen() as listener:
        await listener.wait_status("completed", "stopped", "error")
    assert (await daemon.get(f"/runs/{run['id']}"))["id"] == run["id"]


async def test_a_path_that_nobody_may_name_is_refused_also_when_forced(daemon: Daemon, folder: Path) -> None:
    answer = await daemon.post("/runs", {"config": make_config(folder, workspace_dir="/etc/x", **LONG), "force": True}, status=400)
    assert answer["details"]["code"] == "invalid_config"
    assert "outside the folders" in answer["message"]


async def test_a_checkout_describes_itself_to_a_daemon(start_daemon: StartDaemon, folder: Path) -> None:
    home = Path(shutil.copytree(ROOT / "tests" / "standin", folder / "onetrainer"))
    (home / "venv/bin").mkdir(parents=True)
    (home / "venv/bin/python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (home / "venv/bin/python").chmod(0o755)
    daemon = await start_daemon("--onetrainer", str(home))
    schema = await daemon.get("/config/schema")
    assert (schema["x-catalog"]["config_version"], len(schema["x-catalog"]["missing"])) == (11, 2)
    config = {"epochs": "two", "learning_rat": 1, "base_model_name": "none.safetensors"}
    fast = await daemon.post("/config/validate", {"config": config})
    deep = await daemon.post("/config/validate?deep=true", {"config": config})
    for found in (fast, deep):
        assert sorted(line.partition(":")[0] for line in found["errors"]) == ["/base_model_name", "/epochs"]
        assert "/learning_rat: no such key; did you mean learning_rate?" in found["warnings"]
    assert deep["config"]["epochs"] == 100
    older = await daemon.post("/config/validate?deep=true", {"config": {"__version": 0}})
    assert "cannot bring __version 0 up to 11" in older["errors"][0]
    assert (await daemon.get("/system/info"))["trainer"]["config_version"] == 11


@pytest.mark.parametrize("path", ["/config/validate", "/config/validate?deep=true", "/runs"])
async def test_what_is_no_config_is_refused_and_nothing_is_written(daemon: Daemon, folder: Path, path: str) -> None:
    before = files_in(folder)
    bodies: dict[bytes, int] = {
        b'{"config": {': 400, b'{"config": {"a": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001 + b"}": 400, b'{"config": {"a": 1, "a": 2}}': 400,
        b'{"config": {"learning_rate": NaN}}': 400, b'{"config": {"learning_rate": 1e999}}': 400, b'{"config": []}': 400, b"[]": 400,
        b'{"config": {"a": "\\ud800"}}': 400, b'{"config": {"a": "' + b"x" * 50_000_000 + b'"}}': 413,
    }  # fmt: skip
    for body, status in bodies.items():
        try:
            async with daemon.client.post(path, data=io.BytesIO(body), headers={"Content-Type": "application/json"}) as answer:
                told: dict[str, Any] = await answer.json()
                assert (answer.status, body[:40]) == (status, body[:40])
                assert told["message"]
        except aiohttp.ClientConnectionError:
            assert status == 413  # it is cut off while it still sends
    assert files_in(folder) == before
