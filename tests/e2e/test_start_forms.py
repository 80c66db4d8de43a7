"""A start in each form that users have, with the stand-in for OneTrainer, and what the trainer then really ran with."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartDaemon, make_config
from tests.e2e.daemon import Daemon, Json
from tests.e2e.test_run_files import begin, config_for, ended
from tests.e2e.test_run_files import daemon as standin_daemon

daemon = standin_daemon


async def ran_with(daemon: Daemon, order: Json) -> Json:
    """The effective config of the run that *order* begins."""
    async with daemon.client.post("/runs", json=order) as answer:
        assert answer.status == 201, await answer.text()
        run = await ended(daemon, (await answer.json())["id"])
    assert run["state"] == "completed", run["error"]
    told = await daemon.get(f"/runs/{run['id']}/config")
    assert told["attempt"] == 1
    effective: Json = told["effective"]
    return effective


async def test_preset_config_and_values_lie_over_each_other_in_onetrainers_order(daemon: Daemon, folder: Path) -> None:
    low = {"epochs": 3, "batch_size": 2, "learning_rate": 0.5, "lora_rank": 4, "unet": {"model_name": "low", "weight_dtype": "BFLOAT_16"}}
    await daemon.post("/config/presets/%23sd%20low?category=SD1.5", {"config": low})
    config = {**config_for(folder), "unet": {"model_name": "high"}}
    del config["epochs"], config["learning_rate"]
    order = {"preset": "SD1.5/#sd low", "config": config, "config_values": ["lora_rank=8", "validation=yes", "unet.model_name=top=est"]}
    effective = await ran_with(daemon, order)
    assert (effective["epochs"], effective["batch_size"], effective["learning_rate"]) == (3, 4, 0.5)
    assert (effective["lora_rank"], effective["validation"]) == (8, True)
    assert effective["unet"] == {"__version": 0, "model_name": "top=est", "weight_dtype": "BFLOAT_16"}
    assert "secrets" not in effective
    [run] = (await daemon.get("/runs"))["runs"]
    assert run["preset"] == "SD1.5/#sd low"
    current = (await daemon.get("/config/current"))["config"]
    assert current["epochs"] == 3
    assert "__config_values" not in current


async def test_what_the_trainer_ran_with_is_what_it_wrote_into_its_workspace(daemon: Daemon, folder: Path) -> None:
    effective = await ran_with(daemon, {"config": config_for(folder)})
    [written] = (folder / "workspace" / "config").glob("*.json")
    assert effective == json.loads(written.read_text())
    assert effective["lora_rank"] == 16, "a default that the config does not name"


async def test_values_are_an_object_too_and_the_secrets_among_them_are_kept_apart(daemon: Daemon, folder: Path) -> None:
    values = {"epochs": 1, "lora_rank": "5", "secrets.huggingface_token": "open sesame", "clip_grad_norm": None}
    effective = await ran_with(daemon, {"config": config_for(folder), "config_values": values})
    assert (effective["epochs"], effective["lora_rank"], effective["clip_grad_norm"]) == (1, 5, None)
    assert all(b"open sesame" not in path.read_bytes() for path in daemon.state_dir.rglob("*") if path.is_file())


async def test_concepts_and_samples_come_inline_or_by_file_and_the_current_config_keeps_its_secrets(daemon: Daemon, folder: Path) -> None:
    config = config_for(folder)
    concepts = config.pop("concepts")
    await daemon.call("PUT", "/config/current", {"config": {**config, "secrets": {"huggingface_token": "mine"}}})
    (folder / "samples.json").write_text(json.dumps([{"prompt": "from a file", "seed": 5}]))
    effective = await ran_with(daemon, {"concepts": concepts, "samples": str(folder / "samples.json")})
    assert [concept["name"] for concept in effective["concepts"]] == ["squares"]
    assert [sample["prompt"] for sample in effective["samples"]] == ["from a file"]
    current = (await daemon.get("/config/current"))["config"]
    assert current["concepts"] == concepts
    assert json.loads((daemon.state_dir / "current.secrets.json").read_bytes()) == {"huggingface_token": "mine"}
    (folder / "concepts.json").write_text(json.dumps(concepts))
    assert (await ran_with(daemon, {"concepts": str(folder / "concepts.json")}))["concepts"] == effective["concepts"]


async def test_the_seeds_start_takes_the_same_forms(daemon: Daemon, folder: Path) -> None:
    await daemon.post("/config/presets/whole", {"config": config_for(folder)})
    for body in (
        {"preset": "whole", "config_values": ["epochs=1"]},
        {"preset": "user/whole", "config_path": ""},
        {"config": config_for(folder), "samples": []},
        {"config_path": "", "config_values": {"epochs": 1}},
    ):
        assert (await daemon.post("/training/start", body))["success"] is True
        run = await ended(daemon, (await daemon.get("/runs"))["runs"][0]["id"])
        assert run["state"] == "completed", body


async def test_an_order_that_cannot_be_is_refused_before_a_run_exists(daemon: Daemon, folder: Path) -> None:
    config = config_for(folder)
    await daemon.post("/config/presets/twin", {"config": {"epochs": 1}}, 200)
    (daemon.state_dir / "presets" / "broken.json").write_text('{"epochs": ')
    cases: list[tuple[Json, int, str]] = [
        ({"preset": "nowhere", "config": config}, 404, "no_preset"),
        ({"preset": "broken", "config": config}, 400, "bad_json"),
        ({"preset": "../../current", "config": config}, 400, "bad_category"),
        ({"preset": "a\0", "config": config}, 400, "bad_name"),
        ({"preset": "", "config": config}, 400, "invalid_body"),
        ({"config": config, "config_path": "x.json"}, 400, "two_configs"),
        ({"config": config, "config_values": ["epochs"]}, 400, "bad_config_value"),
        ({"config": config, "config_values": "epochs=1"}, 400, "invalid_body"),
        ({"config": config, "concepts": "/etc/passwd"}, 400, "invalid_config"),
        ({"config": config, "concepts": [5]}, 400, "invalid_body"),
        ({"config": config, "samples": {"prompt": "x"}}, 400, "invalid_body"),
    ]
    for path in ("/runs", "/training/start"):
        for body, status, code in cases:
            answer = await daemon.post(path, body, status=status)
            assert answer["details"]["code"] == code, (path, body, answer)
    missing = await daemon.post("/training/start", {"config_values": ["epochs=1"]}, status=400)
    assert missing["details"]["errors"][0] | {"msg": ""} == {"loc": ["config_path"], "msg": "", "type": "missing"}
    assert await daemon.get("/runs") == {"runs": [], "count": 0}


async def test_a_value_that_onetrainer_would_only_print_fails_the_run_by_its_name(daemon: Daemon, folder: Path) -> None:
    run, _ = await begin(daemon, config_for(folder), config_values={"lora_rank": "many", "unet.weigth_dtype": "FLOAT_16"})
    told = await ended(daemon, run["id"])
    assert (told["state"], told["cause"]) == ("failed", "config_error")
    assert "lora_rank: 'many' is not allowed; it must be a whole number" in told["error"]


@pytest.mark.torch
async def test_the_built_in_trainer_reads_values_by_its_schema(start_daemon: StartDaemon, folder: Path) -> None:
    builtin = await start_daemon("--backend", "builtin")
    refused: list[tuple[Any, str]] = [
        (["epoch=1"], "did you mean epochs?"),
        (["epochs=two"], "whole number"),
        (["optimizer.beta=1"], "no key 'beta'"),
    ]
    for values, told in refused:
        answer = await builtin.post("/runs", {"config": make_config(folder), "config_values": values}, status=400)
        assert told in answer["message"]
    values = ["epochs=1", "optimizer.beta1=0.8", "resolution=8", "tensorboard=True", "sample_after_unit=NEVER"]
    effective = await ran_with(builtin, {"config": make_config(folder), "config_values": values})
    assert (effective["epochs"], effective["optimizer"]["beta1"], effective["resolution"], effective["tensorboard"]) == (1, 0.8, 8, True)
    difference = await builtin.get("/config/diff?base=defaults")
    assert {"pointer": "/epochs", "kind": "changed", "from": 40, "to": 1} in difference["changes"]
    quick = await builtin.get("/config/presets/quick?with_defaults=true")
    assert quick["config"]["rolling_backup_count"] == 3
