"""A daemon process over the stand-in for OneTrainer, whose trainings are real processes that take a second and no torch."""

import contextlib
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.e2e.conftest import write_images
from tests.e2e.daemon import Daemon

STANDIN = Path(__file__).parents[1] / "standin"
UNBOUNDED = {"ONETRAINERD_LIMITS__CALLS_PER_S": "0", "ONETRAINERD_LIMITS__FAILED_LOGINS_PER_MINUTE": "0"}
"""A storm of calls is what these tests are; that it would be stopped is tested elsewhere."""


def standin_config(folder: Path, **changes: Any) -> dict[str, Any]:
    """One epoch of four steps; *changes* go on top."""
    return {
        "__version": 11, "training_method": "LORA", "base_model_name": str(folder / "model"), "output_model_format": "LEGACY_LORA",
        "batch_size": 2, "learning_rate": 1e-3, "tensorboard": False, "epochs": 1, "workspace_dir": str(folder / "workspace"),
        "cache_dir": str(folder / "cache"), "output_model_destination": str(folder / "output/model.safetensors"),
        "concepts": [{"__version": 2, "name": "shapes", "path": str(folder / "images"), "seed": 42, "enabled": True}],
        "samples": [{"prompt": "a circle", "seed": 7, "width": 64, "height": 64, "diffusion_steps": 4, "cfg_scale": 3.0}],
        "sample_after_unit": "NEVER", "backup_after_unit": "NEVER", "save_every_unit": "NEVER", **changes,
    }  # fmt: skip


@contextlib.asynccontextmanager
async def standin_daemon(folder: Path, *flags: str, environment: dict[str, str] | None = None) -> AsyncIterator[Daemon]:
    """A daemon in *folder*, with images and a model there; it and its trainings end with the context."""
    write_images(folder / "images", 8)
    (folder / "model").mkdir()
    checkout = folder / "onetrainer"
    shutil.copytree(STANDIN, checkout)
    (folder / "config.json").write_text(json.dumps(standin_config(folder)))
    given = {**UNBOUNDED, "ONETRAINER_PYTHON": sys.executable, **(environment or {})}
    daemon = Daemon(folder, "--onetrainer", str(checkout), *flags, environment=given)
    await daemon.start()
    try:
        yield daemon
    finally:
        await daemon.stop()
        daemon.kill_trainings()
