"""Each kind of end, told truthfully: what failed, what was done nevertheless, and where it lies."""

import os
import re
import select
import signal
from pathlib import Path
from typing import Any

import pytest

from ipc.journal import JournalReader
from ipc.process import ProcessIdentity
from tests.contract.conftest import Subject

pytestmark = pytest.mark.timeout(600)


def test_sigterm_to_the_trainer_is_a_stop(subject: Subject) -> None:
    attempt = subject.start(subject.endless())
    attempt.wait_step(2)
    attempt.signal_trainer(signal.SIGTERM)
    record = attempt.finish()
    assert (record.cause, record.code, record.model_path) == ("stopped", 0, str(subject.model))
    assert subject.backups()


def test_sigterm_to_the_runner_stops_with_a_backup_though_the_config_wants_none(subject: Subject) -> None:
    attempt = subject.start(subject.endless(backup_before_save=False))
    attempt.wait_step(2)
    ProcessIdentity.from_json(attempt.wait_type("runner.started")["runner"]).send_signal(signal.SIGTERM)
    record = attempt.finish()
    assert (record.cause, record.code, record.model_path) == ("stopped", 0, str(subject.model))
    assert [str(path) for path in subject.backups()] == [record.last_backup]


def test_exit_zero_that_did_nothing_is_not_completed(subject: Subject) -> None:
    cases: dict[str, dict[str, Any]] = {
        "no concept is enabled": {"concepts": []}, "batch_size, 9": {"batch_size": 9}, "only_cache": {"only_cache": True},
    }  # fmt: skip
    for why, changes in cases.items():
        attempt = subject.start(subject.config(**changes))
        record = attempt.finish()
        assert (record.cause, record.code, record.global_step) == ("nothing_done", 0, 0), attempt.story()
        assert why in record.message
        assert not subject.model.exists()


def test_a_finished_run_that_is_continued_says_that_there_is_nothing_to_do(subject: Subject) -> None:
    config = subject.config(epochs=1)
    first = subject.start(config).finish()
    assert first.cause == "completed"
    torn = subject.workspace / "backup" / "9999-12-31_00-00-00-backup-99-9-9"
    (torn / "lora").mkdir(parents=True)  # as a kill leaves it: the highest name, which OneTrainer itself would take
    subject.model.unlink()
    attempt = subject.start({**config, "continue_last_backup": True})
    record = attempt.finish()
    assert (record.cause, record.last_backup) == ("nothing_done", first.last_backup), attempt.story()
    assert "already at epoch 1 of 1" in record.message
    assert any(torn.name in event["message"] for event in attempt.of("log", level="warning"))
    assert not subject.model.exists()


@pytest.mark.parametrize(("changes", "words"), [
    ({"epochs": "two"}, ["epochs", "'two'", "a whole number"]),
    ({"sample_after_unit": "FORTNIGHT"}, ["sample_after_unit", "FORTNIGHT", "MINUTE"]),
    ({"unet": {"weight_dtype": None, "model_name": []}}, ["unet.model_name"]),
    ({"__version": 99}, ["__version", "99", "11"]),
])  # fmt: skip
def test_a_value_that_onetrainer_would_ignore_is_an_error(subject: Subject, changes: dict[str, Any], words: list[str]) -> None:
    attempt = subject.start(subject.config(**changes))
    record = attempt.finish()
    assert record.cause == "config_error", attempt.story()
    [error] = attempt.of("error")
    assert error["where"] == "config"
    assert all(word in error["message"] for word in words), error["message"]
    assert not subject.workspace.exists()


def test_unknown_keys_and_a_cloud_and_a_tensorboard_are_told_and_left_out(subject: Subject) -> None:
    attempt = subject.start(subject.config(epochs=1, nonsense=1, tensorboard=True, cloud={"enabled": True}))
    assert attempt.finish().cause == "completed"
    told = " ".join(event["message"] for event in attempt.of("log"))
    assert all(word in told for word in ("nonsense", "tensorboard is switched off", "cloud.enabled is switched off"))
    assert list(subject.workspace.glob("tensorboard/*/events.out.tfevents.*"))


def test_a_missing_model_is_named_by_key_and_path(subject: Subject) -> None:
    attempt = subject.start(subject.config(base_model_name="/nowhere/model.safetensors"))
    record = attempt.finish()
    assert record.cause == "missing_file", attempt.story()
    [error] = attempt.of("error")
    assert error["where"] == "start"
    assert "base_model_name" in error["message"]
    assert "/nowhere/model.safetensors" in error["message"]
    assert "could not load model" in error["traceback"]  # OneTrainer's own exception is chained


def test_a_missing_concept_folder_is_named_before_anything_is_loaded(subject: Subject) -> None:
    config = subject.config()
    config["concepts"] = [{**config["concepts"][0], "path": "/nowhere/images"}]
    attempt = subject.start(config)
    record = attempt.finish()
    assert record.cause == "missing_file"
    [error] = attempt.of("error")
    assert "concepts[0].path" in error["message"]
    assert "/nowhere/images" in error["message"]
    assert attempt.of("phase") == []


def test_without_git_nothing_is_begun(subject: Subject, tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    attempt = subject.start(subject.config(), env={"PATH": str(empty)})
    assert attempt.finish().cause == "config_error"
    assert "git is not on PATH" in attempt.of("error")[0]["message"]


def test_a_folder_that_is_no_checkout_is_refused(subject: Subject, tmp_path: Path) -> None:
    attempt = subject.start(subject.config(), cwd=tmp_path)
    assert attempt.finish().cause == "config_error"
    assert "not a OneTrainer checkout" in attempt.of("error")[0]["message"]


def test_failures_that_onetrainer_only_prints_are_told_and_the_training_goes_on(subject: Subject) -> None:
    attempt = subject.start(subject.endless(backup_before_save=False))
    attempt.wait_step(1)
    for folder in ("backup", "samples", "save"):
        (subject.workspace / folder).write_text("a file where a folder should be")
    commands = [attempt.command("backup"), attempt.command("save"), attempt.command("sample"), attempt.command("sample", sample={
        "prompt": "x", "width": 64, "height": 64, "diffusion_steps": 2})]  # fmt: skip
    for command in commands:
        answer = attempt.answer(command)
        assert (answer["type"], answer["code"]) == ("command.failed", "failed"), attempt.story()
        assert "Error" in answer["message"]
    attempt.wait_step(attempt.steps[-1]["global_step"] + 2)
    attempt.command("stop")
    assert attempt.finish().cause == "stopped"
    assert {event["where"] for event in attempt.of("error")} == {"backup", "save", "sample"}
    assert not any(event["fatal"] for event in attempt.of("error"))


@pytest.mark.parametrize("backup_before_save", [True, False])
def test_a_failure_in_the_final_save_says_in_which_backup_the_training_lies(subject: Subject, backup_before_save: bool) -> None:
    (subject.folder / "output").write_text("a file where a folder should be")
    attempt = subject.start(subject.config(epochs=1, backup_before_save=backup_before_save))
    record = attempt.finish()
    assert record.cause == "exception", attempt.story()
    [backup] = subject.backups()
    assert (record.global_step, record.last_backup) == (4, str(backup))
    fatal = attempt.of("error")[-1]
    assert (fatal["where"], fatal["fatal"]) == ("end", True)
    assert "the training is done, at step 4" in fatal["message"]
    assert str(backup) in fatal["message"]


def test_a_loss_that_becomes_nan_ends_the_training_and_leaves_the_old_model(subject: Subject) -> None:
    subject.model.parent.mkdir()
    subject.model.write_text("the model of last week")
    attempt = subject.start(subject.endless(learning_rate=1e30, learning_rate_warmup_steps=0, clip_grad_norm=None))
    record = attempt.finish()
    assert (record.cause, record.code) == ("nan_loss", 1), attempt.story()
    [rest] = attempt.of("scalars")  # what OneTrainer had written of the step before it looked at the loss
    assert rest["global_step"] == max([0, *(step["global_step"] for step in attempt.steps)]) + 1
    assert all(tag.startswith("lr/") for tag in rest["scalars"])
    assert subject.model.read_text() == "the model of last week"


def test_a_trainer_whose_runner_is_killed_backs_up_saves_and_ends(subject: Subject) -> None:
    attempt = subject.start(subject.endless(backup_before_save=False))
    attempt.wait_step(2)
    trainer = ProcessIdentity.from_json(attempt.wait_type("trainer.spawned")["trainer"])
    runner = ProcessIdentity.from_json(attempt.wait_type("runner.started")["runner"])
    pidfd = os.pidfd_open(trainer.pid)
    runner.send_signal(signal.SIGKILL)
    subject.forget(attempt)
    assert select.select([pidfd], [], [], 120)[0], "the orphan did not end"
    os.close(pidfd)
    assert subject.model.is_file()
    assert len(subject.backups()) == 1
    reader = JournalReader(attempt.directory.orphan_events)
    events = reader.read()
    reader.close()
    assert [event["trigger"] for event in events if event["type"] == "backup"] == ["orphan"]
    assert events[-1]["type"] == "trainer.finished"
    assert events[-1]["outcome"] == "stopped"


def test_several_gpus_train_through_multitrainer_at_a_free_port(subject: Subject, tmp_path: Path) -> None:
    config = subject.endless(multi_gpu=True, device_indexes="0")
    env = None
    if subject.is_real:  # two ranks on the CPU: gloo for NCCL, and an nvidia-smi, which MultiTrainer runs for its console
        config |= {"device_indexes": "0,1", "async_gradient_reduce": False, "fused_gradient_reduce": False}
        smi = tmp_path / "bin" / "nvidia-smi"
        smi.parent.mkdir()
        smi.symlink_to("/bin/true")
        env = {"PYTHONPATH": str(Path(__file__).parent / "gloo"), "PATH": f"{smi.parent}:{os.environ['PATH']}"}
    attempt = subject.start(config, env=env)
    attempt.wait_step(2)
    hold, backup, sample = attempt.command("pause", mode="hold"), attempt.command("backup"), attempt.command("sample")
    assert attempt.answer(hold)["code"] == "unsupported"
    assert attempt.answer(backup)["type"] == "command.done"
    assert attempt.answer(sample)["type"] == "command.done"
    release = attempt.command("pause", mode="release")
    assert attempt.answer(release)["type"] == "command.done"
    record = attempt.finish()
    assert record.cause == "released", attempt.story()
    assert not subject.model.exists()
    console = attempt.directory.console.read_text(errors="replace")
    ports = set(re.findall(r"at port (\d+)", console))
    assert len(ports) == 1
    assert ports != {"12355"}
    assert ("rank 1 meets" in console) == subject.is_real
    second = subject.start(config, env=env, continue_from=record.last_backup)
    second.wait_step(record.global_step + 1)
    second.command("stop")
    assert second.finish().cause == "stopped"
    assert second.of("continued")[0]["global_step"] == record.global_step


def test_a_rank_that_fails_takes_the_others_with_it(subject: Subject, tmp_path: Path) -> None:
    if not subject.is_real:
        pytest.skip("the stand-in's MultiTrainer has one rank")
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.symlink_to("/bin/true")
    env = {"PYTHONPATH": str(Path(__file__).parent / "gloo"), "PATH": f"{smi.parent}:{os.environ['PATH']}"}
    attempt = subject.start(subject.config(multi_gpu=True, device_indexes="0,1", base_model_name="/nowhere/model"), env=env)
    assert attempt.finish(120).cause == "missing_file", attempt.story()
