"""A training that was interrupted and continued is, to the last bit, the one that was not."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.builtin.lab import Run, config_for, write_images
from trainer_runner.backends.builtin.backups import BackupError
from trainer_runner.trainer.backend import ConfigError

pytestmark = pytest.mark.torch


def tensors_of(backup: Path) -> dict[str, Tensor]:
    """The weights, their average and the optimizer's state."""
    return {f"{path.stem}/{name}": tensor for path in sorted(backup.rglob("*.safetensors")) for name, tensor in load_file(path).items()}


def assert_same_to_the_last_bit(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize(
    ("step", "changes"),
    [
        (1, {}), (6, {}), (8, {}), (11, {}),
        (6, {"optimizer": {"optimizer": "SGD"}, "learning_rate_scheduler": "LINEAR"}),
        (4, {"gradient_accumulation_steps": 2, "ema_update_step_interval": 3}),
    ],
)  # fmt: skip
def test_all_weights_are_equal_to_the_last_bit(folder: Path, step: int, changes: dict[str, Any]) -> None:
    same = {"concepts": [{"path": str(folder / "images"), "balancing": 1.2}], "epochs": 3, "backup_before_save": True, **changes}
    straight = Run(config_for(folder / "straight", **same))
    straight_end = straight.go()

    # The interrupted one also draws samples and is held for a while, which must change nothing.
    config = config_for(folder / "broken", **same, sample_after=3, sample_after_unit="STEP")
    first = Run(config)
    first.at_step(min(step, 2) if "gradient_accumulation_steps" not in changes else 2, lambda: first.command("pause", "hold", mode="hold"))
    first.at("paused", lambda: first.command("resume"))
    first.at_step(step, lambda: first.command("pause", "let go", mode="release"))
    assert first.go().kind == "released"
    second = Run({**config, "continue_last_backup": True})
    second_end = second.go()

    assert second.of("continued")[0]["global_step"] == step
    assert straight_end.last_backup
    assert second_end.last_backup
    assert_same_to_the_last_bit(tensors_of(straight_end.last_backup), tensors_of(second_end.last_backup))
    assert straight_end.model_path
    assert second_end.model_path
    assert straight_end.model_path.read_bytes() == second_end.model_path.read_bytes()
    told = [(event["global_step"], event["scalars"]) for run in (first, second) for event in run.of("step")]
    assert told == [(event["global_step"], event["scalars"]) for event in straight.of("step")]


def test_a_release_while_loading_is_continued_to_the_same_bits(folder: Path) -> None:
    straight = Run(config_for(folder)).go()
    assert straight.model_path
    expected = straight.model_path.read_bytes()
    run = Run(config_for(folder))
    run.at("status", lambda: run.command("pause", "go", mode="release"), text="creating the data loader/caching")
    assert run.go().global_step == 0
    assert run.answer_to("go")["result"]["path"].endswith("-backup-0-0-0")
    Run(config_for(folder, continue_last_backup=True)).go()
    assert straight.model_path.read_bytes() == expected


def test_a_training_that_was_killed_is_continued_to_the_same_bits(folder: Path) -> None:
    config = config_for(folder, backup_after=7, backup_after_unit="STEP")
    straight = Run(config).go()
    assert straight.model_path
    expected = straight.model_path.read_bytes()
    straight.model_path.unlink()
    shutil.rmtree(folder / "workspace")

    code = f"""
import json, os, signal
from tests.builtin.lab import Run
run = Run(json.loads({json.dumps(config)!r}))
run.at_step(9, lambda: os.kill(os.getpid(), signal.SIGKILL))
run.go()
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not straight.model_path.exists()
    run = Run({**config, "continue_last_backup": True})
    run.go()
    assert run.of("continued")[0]["global_step"] == 6
    assert straight.model_path.read_bytes() == expected


def backups_of(folder: Path) -> list[Path]:
    return sorted((folder / "workspace" / "backup").iterdir())


def test_backups_that_were_cut_short_or_damaged_are_passed_over(folder: Path) -> None:
    config = config_for(folder, epochs=1, backup_after=2, backup_after_unit="STEP")
    Run(config).go()
    _, whole = backups_of(folder)
    for name in ("9999-01-01_00-00-00-backup-9-9-9", "9999-01-02_00-00-00-backup-9-9-9", "9999-01-03_00-00-00-backup-9-9-9"):
        shutil.copytree(whole, whole.with_name(name))
    (whole.with_name("9999-01-01_00-00-00-backup-9-9-9") / "meta.json").unlink()
    (whole.with_name("9999-01-02_00-00-00-backup-9-9-9") / "meta.json").write_text('{"format"')
    model = whole.with_name("9999-01-03_00-00-00-backup-9-9-9") / "model" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:1000])
    run = Run({**config, "epochs": 2, "continue_last_backup": True})
    run.go()
    assert run.of("continued")[0]["backup"] == str(whole)
    warnings = [event["message"] for event in run.of("log")]
    assert [("no whole backup" in text, "cannot be read" in text, "damaged" in text) for text in warnings] == [
        (False, False, True), (False, True, False), (True, False, False),
    ]  # fmt: skip


def test_the_backup_that_was_asked_for_wins_over_the_newest(folder: Path) -> None:
    config = config_for(folder, backup_after=2, backup_after_unit="STEP")
    Run(config).go()
    first = backups_of(folder)[0]
    run = Run({**config, "continue_last_backup": True}, continue_from=first)
    run.go()
    assert run.of("continued")[0]["backup"] == str(first)
    assert run.of("step")[0]["global_step"] == 2


def test_a_backup_that_was_asked_for_and_is_not_whole_is_an_error(folder: Path) -> None:
    (folder / "cut").mkdir()
    with pytest.raises(BackupError, match=r"no whole backup: it has no meta\.json"):
        Run(config_for(folder), continue_from=folder / "cut").go()


def test_continuing_a_finished_run_says_so(folder: Path) -> None:
    config = config_for(folder, epochs=1, backup_before_save=True)
    Run(config).go()
    outcome = Run({**config, "continue_last_backup": True}).go()
    assert outcome.kind == "nothing_done"
    assert "epoch 1 of 1" in outcome.message
    assert outcome.last_backup == backups_of(folder)[0]


def test_a_finished_run_goes_on_when_epochs_were_raised(folder: Path) -> None:
    config = config_for(folder, epochs=1, backup_before_save=True)
    Run(config).go()
    assert Run({**config, "epochs": 2, "continue_last_backup": True}).go().global_step == 8


def test_without_a_backup_the_training_begins_anew(folder: Path) -> None:
    run = Run(config_for(folder, epochs=1, continue_last_backup=True))
    assert run.go().kind == "completed"
    assert run.of("continued") == []


def test_another_resolution_than_the_backups_is_a_wrong_config(folder: Path) -> None:
    config = config_for(folder, epochs=1, backup_before_save=True)
    Run(config).go()
    with pytest.raises(ConfigError, match="resolution is 12: the backup's is 8"):
        Run({**config, "resolution": 12, "continue_last_backup": True}).go()


def test_new_images_with_new_words_and_colours_fit_the_model_of_the_backup(folder: Path) -> None:
    config = config_for(folder, epochs=1, backup_before_save=True, optimizer={"optimizer": "ADAM"}, ema="OFF")
    Run(config).go()
    write_images(folder / "images", tint=True)
    (folder / "images" / "white-0.txt").write_text("an unheard of zebra")
    run = Run({**config, "epochs": 2, "continue_last_backup": True, "optimizer": {"optimizer": "ADAMW"}, "ema": "GPU"})
    assert run.go().global_step == 8
    assert [event["message"] for event in run.of("log")] == ["the optimizer was ADAM and is ADAMW: it begins anew"]


def test_rolling_backups_keep_the_newest_whole_ones(folder: Path) -> None:
    (folder / "workspace" / "backup" / "2000-01-01_00-00-00-backup-1-0-1").mkdir(parents=True)
    Run(config_for(folder, backup_after=2, backup_after_unit="STEP", rolling_backup=True, rolling_backup_count=2)).go()
    kept = [json.loads((path / "meta.json").read_text())["train_progress"]["global_step"] for path in backups_of(folder)]
    assert kept == [9, 11]
