"""A training from its start to its end, and the commands on the way: what is told is what was done."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Subject

pytestmark = pytest.mark.timeout(600)

_KINDS: dict[str, dict[str, Any]] = {
    "LoRA": {},
    "full fine-tune": {"training_method": "FINE_TUNE", "output_model_format": "DIFFUSERS"},
    "EMA": {"ema": "CPU", "non_ema_sampling": False},
    "accumulation": {"gradient_accumulation_steps": 4},
    "no latent caching": {"latent_caching": False},
}


@pytest.mark.parametrize("kind", _KINDS)
def test_a_training_that_runs_to_its_end_tells_every_step_and_every_file(subject: Subject, kind: str) -> None:
    config = subject.config(
        epochs=3, sample_after=5, sample_after_unit="STEP", backup_after=7, backup_after_unit="STEP", save_every=9, save_every_unit="STEP",
        **_KINDS[kind],
    )  # fmt: skip
    attempt = subject.start(config)
    record = attempt.finish()
    assert (record.cause, record.global_step, record.model_path) == ("completed", 12, str(subject.model)), attempt.story()
    every = config.get("gradient_accumulation_steps", 1)
    assert [step["global_step"] for step in attempt.steps] == list(range(every, 13, every))
    assert all((step["max_step"], step["max_epoch"]) == (4, 3) for step in attempt.steps)
    assert all({"loss/train_step", "smooth_loss/train_step", "lr/unet_lora" if "LORA" in config["training_method"] else "loss/train_step"}
               <= step["scalars"].keys() for step in attempt.steps)  # fmt: skip
    assert all(("ema_decay" in step["scalars"]) == (kind == "EMA") for step in attempt.steps)
    assert {"loading", "sampling", "training", "saving"} == {event["phase"] for event in attempt.of("phase")}
    # Due at 0, 5 and 10; with a gradient pending they wait, and what waits at the end OneTrainer drops.
    _samples_are_whole(subject, attempt.of("sample"), steps=2 if kind == "accumulation" else 3)
    saves = attempt.of("save")
    assert [save["trigger"] for save in saves] == ["interval", "final"]
    assert all(Path(save["path"]).exists() for save in saves)
    backups = attempt.of("backup")
    assert [backup["trigger"] for backup in backups] == ["interval", "final"]
    assert [Path(backup["path"]) for backup in backups] == subject.backups()
    assert record.last_backup == backups[-1]["path"]
    assert attempt.of("error") == []


def _samples_are_whole(subject: Subject, samples: list[dict[str, Any]], steps: int) -> None:
    assert [(sample["kind"], sample["index"], sample["prompt"], sample["seed"]) for sample in samples] == [
        ("default", 0, "a circle number 1", 7), ("default", 1, "a square / number 2", 8)] * steps  # fmt: skip
    assert {Path(sample["path"]) for sample in samples} == set(subject.workspace.glob("samples/*/*"))
    for sample in samples:
        assert f"-training-sample-{sample['global_step']}-{sample['epoch']}-{sample['epoch_step']}." in sample["path"]


def test_validation_losses_are_told_at_their_own_steps(subject: Subject) -> None:
    config = subject.config(validation=True, validate_after=1, validate_after_unit="EPOCH", gradient_accumulation_steps=2)
    config["concepts"] = [*config["concepts"], {**config["concepts"][0], "name": "shapes", "type": "VALIDATION", "seed": 43}]
    attempt = subject.start(config)
    assert attempt.finish().cause == "completed"
    told = [step["global_step"] for step in attempt.steps if any(tag.startswith("loss/validation_step/") for tag in step["scalars"])]
    assert told == [1, 5]
    assert [step["global_step"] for step in attempt.steps if "loss/train_step" in step["scalars"]] == [2, 4, 6, 8]


def test_commands_are_answered_with_the_files_that_they_made(subject: Subject) -> None:
    attempt = subject.start(subject.endless())
    attempt.wait_step(2)
    backup, save, sample = attempt.command("backup"), attempt.command("save"), attempt.command("sample")
    wanted = {"prompt": "three circles", "seed": 3, "width": 64, "height": 64, "diffusion_steps": 2}
    custom = attempt.command("sample", sample=wanted)
    wrong = attempt.command("sample", sample={"prompt": "x", "seed": "two", "nonsense": 1})
    answers = {name: attempt.answer(name) for name in (backup, save, sample, custom, wrong)}
    assert [answers[name]["type"] for name in (backup, save, sample, custom)] == ["command.done"] * 4, attempt.story()
    assert json.loads((Path(answers[backup]["result"]["path"]) / "meta.json").read_text())["train_progress"]["global_step"] >= 2
    assert Path(answers[save]["result"]["path"]).is_file()
    assert all(Path(path).is_file() for path in answers[sample]["result"]["paths"] + answers[custom]["result"]["paths"])
    assert (answers[wrong]["type"], answers[wrong]["code"]) == ("command.failed", "invalid")
    assert "seed" in answers[wrong]["message"]
    [told] = attempt.of("sample", kind="custom")
    assert (told["prompt"], told["seed"], told["command_id"]) == ("three circles", 3, custom)
    assert answers[custom]["result"]["paths"] == [told["path"]]
    assert [event["trigger"] for event in attempt.of("backup") + attempt.of("save")] == ["command", "command"]
    attempt.command("stop")
    record = attempt.finish()
    assert (record.cause, record.model_path) == ("stopped", str(subject.model))
    assert [event["trigger"] for event in attempt.of("backup")] == ["command", "final"]
    assert subject.model.is_file()


def test_a_held_training_stands_still_and_goes_on_with_what_was_asked_meanwhile(subject: Subject) -> None:
    attempt = subject.start(subject.endless())
    attempt.wait_step(1)
    pause = attempt.command("pause", mode="hold")
    assert attempt.answer(pause)["type"] == "command.done"
    at = attempt.wait_type("paused")["global_step"]
    backup = attempt.command("backup")
    attempt.wait_type("command.accepted", id=backup)
    resume = attempt.command("resume")
    assert attempt.answer(resume)["type"] == "command.done"
    answer = attempt.answer(backup)
    assert answer["type"] == "command.done"
    assert json.loads((Path(answer["result"]["path"]) / "meta.json").read_text())["train_progress"]["global_step"] == at
    attempt.wait_step(at + 2)
    attempt.command("stop")
    assert attempt.finish().cause == "stopped"
    numbers = [step["global_step"] for step in attempt.steps]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_command_on_the_last_step_fails_and_says_so(subject: Subject) -> None:
    attempt = subject.start(subject.config(epochs=1, batch_size=8))  # one step in all
    pause = attempt.command("pause", mode="hold")
    assert attempt.answer(pause)["type"] == "command.done"
    commands = [attempt.command(name) for name in ("backup", "save", "sample")]
    attempt.wait_type("command.accepted", id=commands[-1])
    attempt.command("resume")
    for command in commands:
        answer = attempt.answer(command)
        assert (answer["type"], answer["code"]) == ("command.failed", "run_ended")
        assert "last step" in answer["message"]
    assert attempt.finish().cause == "completed"


def test_a_released_training_saves_no_model_and_goes_on_from_its_backup(subject: Subject) -> None:
    config = subject.config(epochs=4 if subject.is_real else 500)
    last = config["epochs"] * 4
    attempt = subject.start(config)
    attempt.wait_step(2)
    release = attempt.command("pause", mode="release")
    answer = attempt.answer(release)
    record = attempt.finish()
    assert (record.cause, record.last_backup, record.model_path) == ("released", answer["result"]["path"], None), attempt.story()
    assert not subject.model.exists()
    assert [event["trigger"] for event in attempt.of("backup")] == ["release"]
    assert record.global_step == attempt.steps[-1]["global_step"]

    second = subject.start(config, continue_from=record.last_backup)
    ended = second.finish()
    [continued] = second.of("continued")
    assert (continued["backup"], continued["global_step"]) == (record.last_backup, record.global_step)
    assert [step["global_step"] for step in second.steps] == list(range(record.global_step + 1, last + 1))
    assert (ended.cause, ended.global_step) == ("completed", last)
    assert subject.model.is_file()
