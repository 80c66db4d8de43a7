"""Single values over a config: what `scripts/train.py --config-value` makes of them, the adapter makes of them too."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from daemon.config.composing import Composer, Overrides
from daemon.config.presets import Presets
from tests.contract.conftest import Subject

pytestmark = pytest.mark.timeout(600)

LINES = [
    "epochs=1", "learning_rate=3e-4", "resolution=64", "unet.weight_dtype=FLOAT_32", "backup_before_save=no", "validation=True",
    "save_filename_prefix=a=b ", "sample_after_unit=NEVER", "clip_grad_norm=0.5", "unet.model_name=some/where",
]  # fmt: skip
_DUMP = """
import json, runpy, sys
sys.path[:0] = [".", "scripts"]
from modules.util import create
def show(config, *_, **__):
    print("CONFIG " + json.dumps(config.to_dict()), flush=True)
    raise SystemExit(0)
create.create_trainer = show
sys.argv = ["scripts/train.py", *sys.argv[1:]]
runpy.run_path("scripts/train.py", run_name="__main__")
"""


def test_values_are_set_last_and_the_config_that_was_understood_is_written_down(subject: Subject) -> None:
    values = dict(line.split("=", 1) for line in LINES if "model_name" not in line)
    attempt = subject.start({**subject.config(), "__config_values": values})
    assert attempt.finish().cause == "completed", attempt.story()
    understood = json.loads(attempt.directory.config.read_text())
    assert (understood["epochs"], understood["clip_grad_norm"], understood["validation"]) == (1, 0.5, True)
    assert understood["unet"]["weight_dtype"] == "FLOAT_32"
    assert "secrets" not in understood
    [written] = (subject.workspace / "config").glob("*.json")
    assert understood == json.loads(written.read_text())
    assert written.name.startswith("a=b ")


@pytest.mark.parametrize("subject_name", ["onetrainer"])
def test_a_run_of_preset_config_and_values_is_what_train_py_makes_of_them(subject: Subject, tmp_path: Path) -> None:
    preset = {"learning_rate": 0.1, "lora_rank": 8, "unet": {"train": False, "weight_dtype": "BFLOAT_16"}, "batch_size": 3}
    config = {key: value for key, value in subject.config().items() if key != "__version"}
    theirs = _understood_by_train_py(subject, tmp_path, preset, config)
    presets = Presets(tmp_path / "presets", tmp_path / "builtin")
    presets.save("#low", preset)
    composed = Composer(presets, dict).compose(config, Overrides("#low", LINES))
    attempt = subject.start(composed.for_onetrainer(composed.config))
    attempt.wait_type("trainer.ready")
    attempt.command("stop", force=True)
    attempt.finish()
    ours = json.loads(attempt.directory.config.read_text())
    # The secrets are left out, and each embedding has a new random id.
    assert {key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)} == {"secrets", "embedding"}
    assert (ours["learning_rate"], ours["lora_rank"], ours["unet"]["train"]) == (3e-4, 4, False)


def _understood_by_train_py(subject: Subject, folder: Path, preset: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    (folder / "preset.json").write_text(json.dumps(preset))
    (folder / "their.json").write_text(json.dumps(config))
    flags = [word for line in LINES for word in ("--config-value", line)]
    done = subprocess.run(
        [subject.launcher.python, "-c", _DUMP, "--preset-path", str(folder / "preset.json"), "--config-path", str(folder / "their.json"),
         *flags],
        cwd=subject.launcher.home, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    [line] = [line for line in done.stdout.splitlines() if line.startswith("CONFIG ")] or pytest.fail(done.stdout + done.stderr)
    found: dict[str, Any] = json.loads(line.removeprefix("CONFIG "))
    return found
