"""What a training leaves behind and how it ends."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.builtin.lab import Run, config_for, write_images
from trainer_runner.backends.builtin.sampling import draw
from trainer_runner.backends.builtin.saves import read_model
from trainer_runner.trainer.backend import ConfigError, NotFiniteLossError

pytestmark = pytest.mark.torch
TIME = r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d"


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_whole_training_tells_its_steps_and_leaves_what_onetrainer_leaves(folder: Path) -> None:
    config = config_for(
        folder, save_filename_prefix="p-", sample_after=5, sample_after_unit="STEP", backup_after=7, backup_after_unit="STEP",
        save_every=9, save_every_unit="STEP", backup_before_save=True, tensorboard=True, non_ema_sampling=True,
    )  # fmt: skip
    run = Run(config)
    outcome = run.go()
    assert (outcome.kind, outcome.global_step, outcome.model_path) == ("completed", 12, folder / "model.safetensors")
    places = [
        (event["global_step"], event["epoch"], event["epoch_step"], event["max_step"], event["max_epoch"]) for event in run.of("step")
    ]
    assert places == [(step, (step - 1) // 4, (step - 1) % 4 + 1, 4, 3) for step in range(1, 13)]
    assert all(set(event["scalars"]) == {"loss/train_step", "smooth_loss/train_step", "lr/unet", "ema_decay"} for event in run.of("step"))

    workspace = folder / "workspace"
    names = files(workspace)
    sample = rf"p-{TIME}-training-sample-(0-0-0|5-1-1|10-2-2)\.png"
    for prompt in ("0 - a white square", "1 - a black square", "0 - a white square - no-ema"):
        assert len([name for name in names if re.fullmatch(rf"samples/{prompt}/{sample}", name)]) == 3
    backups = sorted(path.name for path in (workspace / "backup").iterdir())
    assert [re.sub(TIME, "T", name) for name in backups] == ["T-backup-6-1-2", "T-backup-12-3-0"]
    assert outcome.last_backup == workspace / "backup" / backups[-1]
    progress = {"epoch": 1, "epoch_step": 2, "epoch_sample": 8, "global_step": 6}
    assert json.loads((workspace / "backup" / backups[0] / "meta.json").read_text())["train_progress"] == progress
    assert [re.sub(TIME, "T", path.name) for path in (workspace / "save").iterdir()] == ["p-T-save-8-2-0.safetensors"]
    assert [re.sub(TIME, "T", path.name) for path in (workspace / "config").iterdir()] == ["p-T.json"]
    assert any(re.fullmatch(rf"tensorboard/p-{TIME}/events\.out\.tfevents\..*", name) for name in names)
    assert not any("tmp" in name for name in names)
    assert [event["trigger"] for event in run.of("backup")] == ["interval", "final"]
    assert [event["trigger"] for event in run.of("save")] == ["interval", "final"]


def test_the_status_texts_are_those_of_onetrainer_in_its_order(folder: Path) -> None:
    run = Run(config_for(folder, epochs=1, backup_before_save=True, sample_after_unit="ALWAYS", continue_last_backup=True))
    run.go()
    texts = [event["text"] for event in run.of("status")]
    assert texts[:7] == [
        "loading the model", "searching for previous backups", "creating the data loader/caching", "running model setup",
        "Starting epoch/caching", "Sampling ...", "Training ...",
    ]  # fmt: skip
    assert texts[-2:] == ["Creating backup", "Saving the final model"]
    phases = [event["phase"] for event in run.of("phase")]
    assert phases[:4] == ["loading", "training", "sampling", "training"]
    assert phases[-1] == "saving"


def test_samples_are_rgb_pngs_of_the_models_own_size_and_told_with_seed_and_prompt(folder: Path) -> None:
    run = Run(config_for(folder, epochs=1, sample_after=1, sample_after_unit="EPOCH"))
    run.go()
    first, second = run.of("sample")
    assert (first["kind"], first["prompt"], first["index"], first["seed"]) == ("default", "a white square", 0, 42)
    assert (second["prompt"], second["index"], second["seed"]) == ("a black square", 1, 7)
    with Image.open(first["path"]) as picture:
        assert (picture.mode, picture.size, picture.format) == ("RGB", (8, 8), "PNG")
    assert [(event["current"], event["total"]) for event in run.of("sampling")] == [(1, 2), (2, 2)] * 2


def test_a_model_learns_to_draw_what_the_caption_says(folder: Path) -> None:
    config = config_for(folder, epochs=60, learning_rate=5e-3, ema_decay=0.9, learning_rate_scheduler="COSINE")
    outcome = Run(config).go()
    assert outcome.model_path
    model = read_model(outcome.model_path)
    images = draw(model, ["a white square", "a black square"] * 8, range(16), cfg_scale=2.0)
    brightness = images.mean(dim=(1, 2, 3))
    assert float(brightness[0::2].mean()) > float(brightness[1::2].mean()) + 0.5
    unseen = draw(model, ["zebra: a white square", "zebra: a black square"] * 8, range(16), cfg_scale=2.0).mean(dim=(1, 2, 3))
    assert float(unseen[0::2].mean()) > float(unseen[1::2].mean()) + 0.5, "a word that no caption had says nothing"


def test_colour_images_make_a_model_of_three_channels(tmp_path: Path) -> None:
    write_images(tmp_path / "images", tint=True)
    outcome = Run(config_for(tmp_path, epochs=1, resolution=12)).go()
    assert outcome.model_path
    model = read_model(outcome.model_path)
    assert (model.shape.channels, model.shape.side) == (3, 12)


def test_a_final_model_goes_into_the_destination_when_that_is_a_folder(folder: Path) -> None:
    (folder / "models").mkdir()
    outcome = Run(config_for(folder, epochs=1, output_model_destination=str(folder / "models"), save_filename_prefix="m-")).go()
    assert outcome.model_path
    assert outcome.model_path.parent == folder / "models"
    assert re.fullmatch(rf"m-{TIME}\.safetensors", outcome.model_path.name)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"concepts": []}, "no images"),
        ({"batch_size": 17}, "batch_size is 17, an epoch has 16 images"),
    ],
)
def test_a_training_that_cannot_do_a_step_says_why_and_saves_nothing(folder: Path, changes: dict[str, Any], why: str) -> None:
    outcome = Run(config_for(folder, backup_before_save=True, **changes)).go()
    assert outcome.kind == "nothing_done"
    assert why in outcome.message
    assert outcome.model_path is None
    assert not (folder / "model.safetensors").exists()


def test_a_loss_that_is_not_finite_ends_the_training_and_leaves_the_model_of_before(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"of before")
    run = Run(
        config_for(folder, learning_rate=10, learning_rate_warmup_steps=0, clip_grad_norm=None, optimizer={"optimizer": "SGD"}, epochs=50)
    )
    with pytest.raises(NotFiniteLossError, match="try a lower learning_rate"):
        run.go()
    assert (folder / "model.safetensors").read_bytes() == b"of before"
    assert run.of("save") == run.of("backup") == []


def test_a_missing_concept_folder_is_a_missing_file_and_not_silence(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"concepts\[0\]\.path"):
        Run(config_for(folder, concepts=[{"path": str(folder / "nowhere")}])).go()


def test_an_output_that_cannot_be_written_is_told_before_the_training(folder: Path) -> None:
    (folder / "file").write_text("")
    run = Run(config_for(folder, output_model_destination=str(folder / "file" / "model.safetensors")))
    with pytest.raises(ConfigError, match="output_model_destination"):
        run.go()
    assert run.of("step") == []


def test_an_image_that_cannot_be_read_is_left_out_with_a_warning(folder: Path) -> None:
    (folder / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    run = Run(config_for(folder, epochs=1))
    assert run.go().global_step == 4
    assert any("broken.png is left out" in event["message"] for event in run.of("log"))


def test_balancing_repeats_images_or_takes_so_many(folder: Path) -> None:
    images = str(folder / "images")
    repeats = [{"path": images, "balancing": 1.5}, {"path": images, "enabled": False}, {"path": images, "type": "VALIDATION"}]
    assert Run(config_for(folder, epochs=1, concepts=repeats)).go().global_step == 6
    some = [{"path": images, "balancing": 9, "balancing_strategy": "SAMPLES"}]
    assert Run(config_for(folder, epochs=1, concepts=some)).go().global_step == 2


def test_with_accumulation_there_is_one_step_event_for_each_optimizer_step(folder: Path) -> None:
    run = Run(config_for(folder, gradient_accumulation_steps=4, backup_after=2, backup_after_unit="STEP"))
    assert run.go().global_step == 12
    assert [event["global_step"] for event in run.of("step")] == [4, 8, 12]
    assert [event["global_step"] for event in run.of("backup")] == [4, 8], "a backup waits until no gradient is pending"


def test_other_models_and_unknown_keys_are_told_in_the_log(folder: Path) -> None:
    run = Run(config_for(folder, epochs=1, model_type="FLUX_DEV_1", lora_rank=4, epoch=2))
    run.go()
    told = [(event["level"], event["message"]) for event in run.of("log")]
    assert told == [
        ("warning", "the config asks for FLUX_DEV_1 by FINE_TUNE: the built-in trainer trains its own small model, all weights"),
        ("info", "OneTrainer's keys that the built-in trainer does not use: lora_rank"),
        ("warning", "epoch is unknown and ignored; is epochs meant?"),
    ]


def test_drawing_leaves_the_global_generator_alone(folder: Path) -> None:
    outcome = Run(config_for(folder, epochs=1)).go()
    assert outcome.model_path
    model = read_model(outcome.model_path)
    before = torch.get_rng_state()
    one = draw(model, ["a white square"], [3], steps=2)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one, draw(model, ["a white square"], [3], steps=2))
