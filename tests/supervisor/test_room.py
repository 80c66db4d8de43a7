"""What a run needs on which file system, and the refusal when it is not there."""

import os
from pathlib import Path
from typing import Any

import pytest

from daemon.config.composing import Composer
from daemon.config.current import CurrentConfig
from daemon.config.described import Described
from daemon.config.presets import Presets
from daemon.config.validation import Validator
from daemon.errors import InvalidError
from daemon.paths import Roots
from daemon.runs.disk import DiskMarks
from daemon.runs.policies import RestartPolicy, StallPolicy
from daemon.supervisor.intake import Defaults, Intake, Order
from daemon.supervisor.room import Need, needs_of, refuse_if_full, room_at

PLENTY = DiskMarks(reserve_bytes=1)


def needs(folder: Path, backend: str = "onetrainer", **config: Any) -> dict[str, tuple[str, int]]:
    state_dir = folder / "state"
    found = needs_of(config, backend, Roots([folder], folder), state_dir)
    return {need.what: (str(need.path.relative_to(folder)), need.size) for need in found}


def test_a_full_fine_tune_needs_its_model_four_times(tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / "unet").mkdir(parents=True)
    (model / "unet" / "weights.safetensors").write_bytes(bytes(1000))
    (model / "index.json").write_bytes(bytes(24))
    paths = {"workspace_dir": "work", "output_model_destination": "out/m.safetensors", "base_model_name": "model"}
    assert needs(tmp_path, training_method="FINE_TUNE", **paths) == {
        "journals and console": ("state", 0), "samples and backups": ("work", 3072), "the model": ("out/m.safetensors", 1024),
    }  # fmt: skip
    assert needs(tmp_path, training_method="LORA", **paths)["samples and backups"] == ("work", 0)
    assert needs(tmp_path, "builtin", training_method="FINE_TUNE", **paths)["the model"][1] == 0
    paths["base_model_name"] = "model/unet/weights.safetensors"
    assert needs(tmp_path, training_method="FINE_TUNE", **paths)["the model"][1] == 1000


@pytest.mark.parametrize("name", ["some/model-on-the-hub", "", None, "/etc", "\0"])
def test_a_model_whose_size_nobody_knows_counts_nothing(tmp_path: Path, name: object) -> None:
    assert needs(tmp_path, training_method="FINE_TUNE", workspace_dir="w", base_model_name=name)["samples and backups"] == ("w", 0)


def test_paths_that_the_validator_refuses_are_passed_over(tmp_path: Path) -> None:
    assert list(needs(tmp_path, workspace_dir="/etc/x", cache_dir=5)) == ["journals and console"]


def test_there_is_room_for_what_fits_and_not_for_what_does_not(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    fits = [Need(tmp_path / "not" / "yet" / "there", free // 4, "samples and backups"), Need(tmp_path, 0, "the model")]
    refuse_if_full(fits, PLENTY)
    too_much = [*fits, Need(tmp_path, free, "the model")]
    with pytest.raises(InvalidError, match="the model, samples and backups") as caught:
        refuse_if_full(too_much, PLENTY)
    assert caught.value.code == "disk_full"
    assert caught.value.details["path"] == str(tmp_path)
    assert caught.value.details["needed"] == free + free // 4 + 1
    assert caught.value.details["setting"] == "disk.reserve_bytes"
    refuse_if_full(too_much, DiskMarks(reserve_bytes=0))


def test_the_reserve_of_a_small_file_system_is_a_tenth_of_it(tmp_path: Path) -> None:
    room = room_at(tmp_path)
    assert room is not None
    if room.free > room.total // 10:
        refuse_if_full([Need(tmp_path, 0, "samples")], DiskMarks(reserve_bytes=1 << 60))


def test_the_nearest_parent_that_exists_is_asked(tmp_path: Path) -> None:
    room = room_at(tmp_path / "a" / "b")
    assert room is not None
    assert (room.path, room.total > room.free > 0) == (str(tmp_path / "a" / "b"), True)


def test_a_run_without_room_is_refused_unless_it_is_forced(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    os.truncate(tmp_path / "model.safetensors", 4 << 40)  # no disk of ours has four times as much; this file takes none of it
    config = {
        "training_method": "FINE_TUNE", "workspace_dir": "work", "output_model_destination": "out.safetensors",
        "base_model_name": "model.safetensors",
    }  # fmt: skip
    roots = Roots([tmp_path], tmp_path)
    defaults = Defaults(tmp_path / "state", RestartPolicy(on=("crash",)), StallPolicy(after_s=60))
    composer = Composer(Presets(tmp_path / "presets", tmp_path / "builtin"), dict)
    intake = Intake(
        "onetrainer", roots, CurrentConfig(tmp_path / "current.json"), Validator(lambda: Described("onetrainer"), roots), defaults, composer
    )
    with pytest.raises(InvalidError, match=r"16384\.0 GiB for the training") as caught:
        intake.spec(Order(config=config))
    assert caught.value.code == "disk_full"
    spec = intake.spec(Order(config=config, force=True, restart={"backoff_s": 1}, stall={"action": "restart"}))
    assert spec.writes == (str(tmp_path / "work"), str(tmp_path / "out.safetensors"))
    assert spec.restart == RestartPolicy(on=("crash",), backoff_s=1.0)
    assert spec.stall == StallPolicy(60.0, "restart")
