"""The same config under `scripts/train.py` and under onetrainerd: the same files, the same numbers."""

import json
import os
import re
import struct
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import REAL, Subject

pytestmark = pytest.mark.timeout(900)

_TIME = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")
_EVENT_FILE = re.compile(r"tfevents\..*")
# OneTrainer seeds its noise, but not the first weights of a LoRA: both sides get them from here.
_SEED = "import torch\ntorch.manual_seed(1)\n"
_READ_SCALARS = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
events.Reload()
print(json.dumps({tag: [[event.step, event.value] for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}))
"""


@pytest.mark.parametrize("subject_name", [REAL])
@pytest.mark.parametrize("kind", ["LoRA", "full fine-tune, EMA, validation, accumulation"])
def test_train_py_and_onetrainerd_write_the_same_files_and_the_same_numbers(
    subject: Subject, kind: str, real_home: tuple[Path, str], tmp_path: Path
) -> None:
    home, python = real_home
    (tmp_path / "seeded").mkdir()
    (tmp_path / "seeded" / "sitecustomize.py").write_text(_SEED)
    env = {"PYTHONPATH": str(tmp_path / "seeded"), "CUDA_VISIBLE_DEVICES": ""}
    config = subject.config(
        epochs=3, sample_after=5, sample_after_unit="STEP", backup_after=7, backup_after_unit="STEP", save_every=9, save_every_unit="STEP",
        save_filename_prefix="side-",
    )  # fmt: skip
    if kind != "LoRA":
        config |= {
            "training_method": "FINE_TUNE", "output_model_format": "DIFFUSERS", "ema": "CPU", "gradient_accumulation_steps": 2,
            "validation": True, "validate_after": 3, "validate_after_unit": "STEP",
        }  # fmt: skip
        config["concepts"] = [*config["concepts"], {**config["concepts"][0], "name": "held out", "type": "VALIDATION", "seed": 43}]
    theirs = tmp_path / "theirs"
    their_config = {
        **config, "workspace_dir": str(theirs / "workspace"), "cache_dir": str(theirs / "cache"),
        "output_model_destination": str(theirs / "output" / "model.safetensors"),
    }  # fmt: skip
    theirs.mkdir()
    (theirs / "config.json").write_text(json.dumps(their_config))
    subprocess.run(
        [python, "scripts/train.py", "--config-path", str(theirs / "config.json")], cwd=home, env={**os.environ, **env},
        check=True, capture_output=True, timeout=400,
    )  # fmt: skip
    attempt = subject.start(config, env=env)
    assert attempt.finish().cause == "completed", attempt.story()

    ours = subject.folder
    assert _pattern(ours / "workspace") == _pattern(theirs / "workspace")
    assert _pattern(ours / "output") == _pattern(theirs / "output")
    numbers = _scalars(python, ours / "workspace")
    assert numbers == _scalars(python, theirs / "workspace")
    assert _told(attempt.steps) == {tag: [(step + 1, value) for step, value in rows] for tag, rows in numbers.items()}
    assert _sizes(ours / "output") == _sizes(theirs / "output")


def _pattern(folder: Path) -> Counter[str]:
    """The names of all files below, with times, host and pid blanked out."""
    names = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return Counter(_EVENT_FILE.sub("tfevents", _TIME.sub("TIME", name)) for name in names)


def _sizes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*.safetensors")}


def _scalars(python: str, workspace: Path) -> dict[str, list[tuple[int, float]]]:
    [folder] = workspace.glob("tensorboard/*")
    read = subprocess.run([python, "-c", _READ_SCALARS, str(folder)], check=True, capture_output=True, text=True, timeout=120)
    return {tag: [(step, value) for step, value in rows] for tag, rows in json.loads(read.stdout.splitlines()[-1]).items()}


def _told(steps: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Our events in the same form. TensorBoard's files hold single precision."""
    told: dict[str, list[tuple[int, float]]] = {}
    for step in steps:
        for tag, value in step["scalars"].items():
            [single] = struct.unpack("f", struct.pack("f", value))
            told.setdefault(tag, []).append((step["global_step"], single))
    return told
