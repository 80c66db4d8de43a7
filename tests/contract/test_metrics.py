"""What the API tells of a training by the real OneTrainer is what lies in its event files: every tag, every step, every value."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import Daemon
from tests.e2e.event_files import Scalars, of_attempt, read_event_files

pytestmark = pytest.mark.timeout(900)

_DEADLINE_S = 300.0
_ENDED = ("completed", "failed", "stopped", "lost")


@pytest.fixture
async def daemon(tmp_path: Path, tiny: Path, real_home: tuple[Path, str]) -> AsyncIterator[Daemon]:
    home, python = real_home
    environment = {
        "ONETRAINER_HOME": str(home), "ONETRAINER_PYTHON": python, "CUDA_VISIBLE_DEVICES": "",
        "ONETRAINERD_PATHS__ROOTS": json.dumps([str(tmp_path), str(tiny)]),
    }  # fmt: skip
    started = Daemon(tmp_path, environment=environment)
    await started.start()
    yield started
    await started.stop()
    started.kill_trainings()


def config_in(folder: Path, tiny: Path, **changes: Any) -> dict[str, Any]:
    quiet = {"sample_after_unit": "NEVER", "backup_after_unit": "NEVER", "save_every_unit": "NEVER", "tensorboard": False}
    own = {
        "workspace_dir": str(folder / "workspace"), "cache_dir": str(folder / "cache"),
        "output_model_destination": str(folder / "output" / "model.safetensors"),
    }  # fmt: skip
    return {**json.loads((tiny / "config.json").read_text()), **quiet, **own, **changes}


async def wait_run(daemon: Daemon, run_id: str, *states: str, step: int = 0) -> dict[str, Any]:
    """The run, as soon as it is in one of *states* and its progress has reached *step*."""
    async with asyncio.timeout(_DEADLINE_S), daemon.listen() as listener:
        while True:
            run = await daemon.get(f"/runs/{run_id}")
            if run["state"] in states and (run["progress"] or {}).get("global_step", 0) >= step:
                return run
            assert run["state"] not in _ENDED, run
            await listener.socket.receive()


async def metrics(daemon: Daemon, run_id: str) -> dict[str, Any]:
    while not (found := await daemon.get(f"/runs/{run_id}/metrics?max_points=100000"))["is_complete"]:
        pass
    return found


def up_to(files: Scalars, step: int) -> Scalars:
    return {tag: kept for tag, rows in files.items() if (kept := [row for row in rows if row[0] <= step])}


async def test_a_training_with_ema_validation_and_accumulation_is_shown_as_in_its_event_files_over_a_release(
    daemon: Daemon, tmp_path: Path, tiny: Path, real_home: tuple[Path, str]
) -> None:
    config = config_in(
        tmp_path, tiny, epochs=6, ema="CPU", gradient_accumulation_steps=2, validation=True, validate_after=3, validate_after_unit="STEP"
    )
    config["concepts"] = [*config["concepts"], {**config["concepts"][0], "name": "held out, twice", "type": "VALIDATION", "seed": 43}]
    run_id = (await daemon.post("/runs", {"config": config}, status=201))["id"]
    await wait_run(daemon, run_id, "training", "saving", step=8)
    await daemon.post(f"/runs/{run_id}/pause", {"mode": "release"})
    released = await wait_run(daemon, run_id, "released")
    await daemon.post(f"/runs/{run_id}/resume")
    ended = await wait_run(daemon, run_id, "completed")
    found = await metrics(daemon, run_id)
    first, second = await asyncio.to_thread(read_event_files, real_home[1], tmp_path / "workspace")

    # A release ends OneTrainer behind one more step, which no backup has: the next attempt trains it again, to the same values.
    at = released["progress"]["global_step"]
    assert of_attempt(found, 1) == up_to(first, at - 1)
    assert of_attempt(found, 2) == second
    again = [row for row in first["loss/train_step"] if row[0] >= at]
    assert again == second["loss/train_step"][: len(again)]
    validation = "loss/validation_step/held out, twice"
    assert (
        {"loss/train_step", "smooth_loss/train_step", "ema_decay", "lr/unet_lora", "lr/text_encoder_lora", validation}
        == set(first)
        == set(second)
    )
    assert ended["progress"]["global_step"] == max(one["last_step"] for one in found["attempts"]) == 24
    progress = await daemon.get("/training/progress")
    assert (progress["progress"]["global_step"], progress["max_epoch"]) == (24, 6)
    assert ended["progress"]["loss"] == next(
        one["value"][-1] for one in found["series"] if (one["tag"], one["attempt"]) == ("loss/train_step", 2)
    )
    held_out = await daemon.get(f"/runs/{run_id}/metrics?merged=true&tags={validation}")
    assert held_out["series"][0]["global_step"] == [step + 1 for step, _ in [*up_to(first, at - 1)[validation], *second[validation]]]


async def test_a_training_whose_loss_becomes_nan_is_shown_as_in_its_event_files(
    daemon: Daemon, tmp_path: Path, tiny: Path, real_home: tuple[Path, str]
) -> None:
    config = config_in(tmp_path, tiny, epochs=50, learning_rate=1e30, learning_rate_warmup_steps=0, clip_grad_norm=None)
    config["validation"], config["validate_after"], config["validate_after_unit"] = True, 1, "STEP"
    config["concepts"] = [*config["concepts"], {**config["concepts"][0], "name": "held out", "type": "VALIDATION", "seed": 43}]
    run_id = (await daemon.post("/runs", {"config": config}, status=201))["id"]
    ended = await wait_run(daemon, run_id, "failed")
    assert ended["cause"] == "nan_loss"
    found = await metrics(daemon, run_id)
    [files] = await asyncio.to_thread(read_event_files, real_home[1], tmp_path / "workspace")
    assert of_attempt(found, 1) == files
    assert files["loss/validation_step/held out"][-1][1] == "nan"
    assert files["lr/unet_lora"][-1][0] == ended["progress"]["global_step"]  # of the step that failed: counted from 0
