"""A folder with images and configs, and daemons in it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.e2e.daemon import Daemon

StartDaemon = Callable[..., Coroutine[Any, Any, Daemon]]


def write_images(folder: Path, count: int = 16) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        image = Image.new("L", (16, 16), 16 * number)
        image.putpixel((number, number), 255)
        image.save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a square number {number}")


def make_config(folder: Path, **changes: Any) -> dict[str, Any]:
    """A config of the built-in trainer that takes some milliseconds a step; *changes* go on top."""
    prompt = {"prompt": "a square", "seed": 3, "diffusion_steps": 4, "cfg_scale": 1.0, "enabled": True}
    return {
        "__version": 11, "model_type": "BUILTIN", "training_method": "FINE_TUNE", "workspace_dir": str(folder / "workspace"),
        "output_model_destination": str(folder / "model.safetensors"), "resolution": "16", "train_device": "cpu", "seed": 1,
        "concepts": [{"name": "squares", "path": str(folder / "images"), "enabled": True}], "batch_size": 4, "epochs": 2,
        "learning_rate": 0.001, "ema": "CPU", "samples": [prompt], "sample_after": 1, "sample_after_unit": "EPOCH",
        "backup_after_unit": "NEVER", "save_every_unit": "NEVER", "backup_before_save": False, "tensorboard": False, **changes,
    }  # fmt: skip


LONG: dict[str, Any] = {"epochs": 100_000, "sample_after_unit": "NEVER"}
"""Trains until it is stopped."""


def write_config(folder: Path, name: str = "config.json", **changes: Any) -> str:
    path = folder / name
    path.write_text(json.dumps(make_config(folder, **changes)))
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path / "images")
    return tmp_path


@pytest.fixture
async def start_daemon(folder: Path) -> AsyncIterator[StartDaemon]:
    """Start a daemon in *folder*; all are ended with the test, and their trainings too."""
    daemons: list[Daemon] = []

    async def begin(*flags: str) -> Daemon:
        daemons.append(Daemon(folder, *flags))
        await daemons[-1].start()
        return daemons[-1]

    yield begin
    for daemon in daemons:
        await daemon.stop()
        daemon.kill_trainings()
    await asyncio.sleep(0)


@pytest.fixture
async def daemon(start_daemon: StartDaemon) -> Daemon:
    return await start_daemon()
