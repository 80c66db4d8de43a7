"""Commands come while a training runs; each is answered."""

from pathlib import Path
from typing import Any

import pytest

from tests.builtin.lab import Event, Run, config_for
from trainer_runner.backends.builtin import outputs
from trainer_runner.backends.builtin.saves import read_model

pytestmark = pytest.mark.torch


def test_backup_save_and_samples_are_carried_out_between_two_steps_and_answered_with_their_paths(folder: Path) -> None:
    run = Run(config_for(folder))

    def ask() -> None:
        run.command("backup")
        run.command("save")
        run.command("sample", "defaults")
        run.command("sample", "custom", sample={"prompt": "a dark square", "seed": 3, "diffusion_steps": 4, "cfg_scale": 1, "width": 64})

    run.at_step(5, ask)
    run.go()
    backup, save, defaults, custom = (run.answer_to(name)["result"] for name in ("backup", "save", "defaults", "custom"))
    assert (Path(backup["path"]) / "meta.json").is_file()
    assert backup["path"].endswith("-backup-5-1-1")
    assert read_model(Path(save["path"])).shape.side == 8
    assert [Path(path).parent.name for path in defaults["paths"]] == ["0 - a white square", "1 - a black square"]
    assert (custom["width"], custom["height"]) == (8, 8), "the real size is told, not the one asked for"
    assert Path(custom["paths"][0]).parent.name == "custom"
    (told,) = [event for event in run.of("sample") if event["kind"] == "custom"]
    assert (told["prompt"], told["seed"], told["command_id"], told["path"]) == ("a dark square", 3, "custom", custom["paths"][0])
    assert [event["trigger"] for event in run.of("backup")] == ["command"]
    assert len(run.of("step")) == 12


def test_custom_samples_of_the_same_second_do_not_overwrite_each_other(folder: Path) -> None:
    run = Run(config_for(folder))

    def ask() -> None:
        for number in range(5):
            run.command("sample", f"s{number}", sample={"prompt": "a white square", "seed": number, "diffusion_steps": 1})

    run.at_step(2, ask)
    run.go()
    paths = [run.answer_to(f"s{number}")["result"]["paths"][0] for number in range(5)]
    assert len(set(paths)) == 5
    assert sorted(paths) == paths
    assert all(Path(path).is_file() for path in paths)


def test_a_random_seed_is_told(folder: Path) -> None:
    run = Run(config_for(folder))

    def ask() -> None:
        for name in ("one", "other"):
            run.command("sample", name, sample={"random_seed": True, "diffusion_steps": 1})

    run.at_step(2, ask)
    run.go()
    one, other = [event["seed"] for event in run.of("sample")]
    assert one != other


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        ({"diffusion_steps": 0}, "diffusion_steps is 0: an integer from 1 to 1000 was expected"),
        ({"diffusion_steps": 1001, "cfg_scale": "high"}, "cfg_scale is 'high'"),
        ({"prompt": 3}, "prompt is 3: a string was expected"),
        ([1], "an object was expected"),
    ],
)
def test_wrong_sample_parameters_fail_the_command_and_nothing_else(folder: Path, sample: Any, why: str) -> None:
    run = Run(config_for(folder))
    run.at_step(2, lambda: run.command("sample", "wrong", sample=sample))
    assert run.go().kind == "completed"
    answer = run.answer_to("wrong")
    assert answer["code"] == "invalid"
    assert why in answer["message"]


def test_a_command_on_the_last_step_is_carried_out(folder: Path) -> None:
    run = Run(config_for(folder))
    run.at_step(12, lambda: run.command("backup"))
    run.go()
    assert run.answer_to("backup")["result"]["path"].endswith("-backup-12-3-0")


def test_a_command_that_came_while_loading_waits_for_the_first_step(folder: Path) -> None:
    run = Run(config_for(folder))
    run.at("status", lambda: run.command("save"), text="loading the model")
    run.go()
    assert run.answer_to("save")["result"]["path"].endswith("-save-0-0-0.safetensors")


def test_commands_are_carried_out_during_a_pause(folder: Path) -> None:
    run = Run(config_for(folder))
    run.at_step(3, lambda: run.command("pause", mode="hold"))
    run.at("paused", lambda: run.command("backup"))
    run.at("command.done", lambda: run.command("sample", "in pause", sample={"prompt": "x", "diffusion_steps": 2}), id="backup")
    run.at("command.done", lambda: run.command("resume"), id="in pause")
    assert run.go().kind == "completed"
    kinds = [event["type"] for event in run.events]
    assert kinds.index("paused") < kinds.index("backup") < kinds.index("sample") < kinds.index("resumed")
    between = run.events[kinds.index("paused") : kinds.index("resumed")]
    assert [event for event in between if event["type"] in ("phase", "step")] == [], "a held training stays held for those who watch"
    after = [event["text"] for event in run.events[kinds.index("resumed") :] if event["type"] == "status"]
    assert after[0] == "Training ..."
    assert len(run.of("step")) == 12


def test_a_pause_asked_for_while_loading_holds_before_anything_is_done(folder: Path) -> None:
    run = Run(config_for(folder, sample_after=1, sample_after_unit="EPOCH"))
    run.at("status", lambda: run.command("pause", mode="hold"), text="loading the model")
    run.at("paused", lambda: run.command("resume"))
    run.go()
    kinds = [event["type"] for event in run.events]
    assert kinds.index("resumed") < kinds.index("sampling") < kinds.index("step")


def test_a_pause_asked_for_during_a_sampling_holds_before_the_next_step(folder: Path) -> None:
    run = Run(config_for(folder))
    run.at_step(3, lambda: run.command("sample", sample={"diffusion_steps": 5}))
    run.at("sampling", lambda: run.command("pause", mode="hold"), current=2)
    run.at("paused", lambda: run.command("resume"))
    run.go()
    assert run.of("paused")[0]["global_step"] == 3


def test_stop_ends_after_the_present_step_with_backup_and_model(folder: Path) -> None:
    run = Run(config_for(folder, backup_before_save=True))
    run.at_step(5, lambda: run.command("stop"))
    outcome = run.go()
    assert (outcome.kind, outcome.global_step, outcome.model_path) == ("stopped", 5, folder / "model.safetensors")
    assert [event["trigger"] for event in run.of("backup")] == ["final"]


def test_stop_while_loading_saves_nothing(folder: Path) -> None:
    run = Run(config_for(folder, backup_before_save=True))
    run.at("status", lambda: run.command("stop"), text="creating the data loader/caching")
    outcome = run.go()
    assert (outcome.kind, outcome.global_step, outcome.model_path) == ("stopped", 0, None)
    assert not (folder / "model.safetensors").exists()


def test_stop_during_a_long_sampling_is_noticed_between_two_diffusion_steps(folder: Path) -> None:
    run = Run(config_for(folder))
    run.at_step(4, lambda: run.command("sample", "long", sample={"diffusion_steps": 1000}))
    run.at("sampling", lambda: run.command("stop"), current=3)
    assert run.go().kind == "stopped"
    assert [event["current"] for event in run.of("sampling")] == [1, 2, 3]
    assert run.answer_to("long")["code"] == "run_ended"
    assert run.of("sample") == []


def test_release_backs_up_answers_and_leaves_without_a_model(folder: Path) -> None:
    run = Run(config_for(folder, backup_before_save=True))
    run.at_step(6, lambda: run.command("pause", "go", mode="release"))
    outcome = run.go()
    assert (outcome.kind, outcome.model_path) == ("released", None)
    assert [event["trigger"] for event in run.of("backup")] == ["release"]
    assert run.answer_to("go")["result"]["path"] == str(outcome.last_backup)
    assert not (folder / "model.safetensors").exists()


def test_a_held_training_can_be_released(folder: Path) -> None:
    run = Run(config_for(folder))
    run.at_step(3, lambda: run.command("pause", "hold", mode="hold"))
    run.at("paused", lambda: run.command("pause", "go", mode="release"))
    assert run.go().kind == "released"
    assert run.answer_to("go")["type"] == "command.done"


def test_a_release_on_the_last_step_completes_the_training_instead(folder: Path) -> None:
    run = Run(config_for(folder))
    run.at_step(12, lambda: run.command("pause", "go", mode="release"))
    assert run.go().kind == "completed"
    assert run.answer_to("go")["code"] == "run_ended"
    assert (folder / "model.safetensors").exists()


def test_a_release_whose_backup_fails_goes_on_training(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_room_for_backups(monkeypatch)
    run = Run(config_for(folder))
    run.at_step(6, lambda: run.command("pause", "go", mode="release"))
    outcome = run.go()
    assert (outcome.kind, outcome.global_step) == ("completed", 12)
    assert "no space" in run.answer_to("go")["message"]
    assert [event["phase"] for event in run.of("phase")] == ["loading", "training", "saving", "training", "saving"]


def test_an_orphan_backs_up_stops_and_saves(folder: Path) -> None:
    run = Run(config_for(folder))
    run.at_step(5, run.session.orphaned)
    outcome = run.go()
    assert outcome.kind == "stopped"
    assert [event["trigger"] for event in run.of("backup")] == ["orphan"]
    assert (folder / "model.safetensors").exists()


def test_a_backup_that_fails_is_told_and_the_training_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_room_for_backups(monkeypatch)
    run = Run(config_for(folder, backup_after=7, backup_after_unit="STEP", backup_before_save=True))
    run.at_step(3, lambda: run.command("backup"))
    assert run.go().kind == "completed"
    assert run.answer_to("backup")["code"] == "failed"
    assert [(event["where"], event["cause"], event["fatal"]) for event in run.of("error")] == [("backup", "disk_full", False)] * 3
    assert list((folder / "workspace").glob("backup/*")) == []


def test_a_sample_that_fails_is_told_and_the_others_are_drawn(folder: Path) -> None:
    run = Run(config_for(folder, sample_after=1, sample_after_unit="EPOCH", epochs=1))
    (folder / "workspace" / "samples").mkdir(parents=True)
    (folder / "workspace" / "samples" / "0 - a white square").write_text("a file where a folder should be")
    assert run.go().kind == "completed"
    assert [event["where"] for event in run.of("error")] == ["sample"]
    assert [event["prompt"] for event in run.of("sample")] == ["a black square"]


def no_room_for_backups(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(outputs, "write_backup", fail)


def test_every_command_is_answered_once(folder: Path) -> None:
    run = Run(config_for(folder))
    ids: list[str] = []

    def ask(event: Event) -> None:
        if event["type"] == "step":
            for name in ("backup", "save", "sample"):
                ids.append(f"{name}-{event['global_step']}")
                run.command(name, ids[-1])

    run.answers.append(ask)
    run.go()
    assert all(run.answer_to(identifier)["type"] == "command.done" for identifier in ids)
    assert len(ids) == 36
