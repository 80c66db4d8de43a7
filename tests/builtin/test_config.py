import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.builtin.lab import config_for
from trainer_runner.backends.builtin.config import describe, load
from trainer_runner.trainer.backend import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
CONCEPTS: list[dict[str, Any]] = [{"path": "images"}]


def test_the_schema_file_is_what_the_config_describes() -> None:
    found = json.loads((CONFIGS / "builtin.catalog.json").read_text())
    assert found["schema"] == describe(), "run: make schema"


def test_the_schema_is_a_valid_one() -> None:
    jsonschema.Draft202012Validator.check_schema(describe())


def test_reading_and_describing_a_config_does_not_import_torch() -> None:
    code = (
        "import sys, trainer_runner.backends.builtin.config as c; c.describe(); c.load({'concepts': []}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=CONFIGS.parent, check=False).returncode == 0


@pytest.mark.parametrize("preset", sorted((CONFIGS / "presets").glob("*.json")), ids=lambda path: path.stem)
def test_a_preset_is_read_without_a_word_about_it(preset: Path) -> None:
    values = json.loads(preset.read_text())
    jsonschema.Draft202012Validator(describe()).validate(values)
    loaded = load(values)
    assert loaded.unknown == []
    assert loaded.ignored == []
    assert "__version" in values
    assert not any(Path(value).is_absolute() for value in (loaded.config.workspace_dir, loaded.config.output_model_destination))


def test_all_wrong_values_are_told_at_once_with_key_value_and_what_is_allowed() -> None:
    with pytest.raises(ConfigError) as raised:
        load({
            "epochs": "two", "batch_size": 0, "ema": "ON", "resolution": "18", "learning_rate": float("nan"), "clip_grad_norm": True,
            "optimizer": {"optimizer": "LION"}, "concepts": [{"path": 1}, 3, {"path": "x", "balancing": -1}], "samples": "none",
        })  # fmt: skip
    lines = str(raised.value).splitlines()
    assert lines == [
        "epochs is 'two': an integer from 1 to 1000000 was expected",
        "batch_size is 0: an integer from 1 to 65536 was expected",
        "learning_rate is nan: a number from 0 to 10 was expected",
        "clip_grad_norm is True: a number from 0 to 1000000000.0 was expected",
        "optimizer.optimizer is 'LION': allowed: ADAMW, ADAM, SGD",
        "ema is 'ON': allowed: OFF, CPU, GPU",
        "resolution is '18': an integer from 8 to 128, that is a multiple of 4 was expected",
        "concepts[0].path is 1: a string was expected",
        "concepts[1] is 3: an object was expected",
        "concepts[2].balancing is -1: a number from 0 to 1000000.0 was expected",
        "samples is 'none': a list was expected",
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", "SD"), ("training_method", "lora"), ("train_device", "tpu"), ("workspace_dir", ""), ("save_filename_prefix", "a/b"),
        ("save_filename_prefix", ".hidden"), ("sample_after_unit", "DAY"), ("epochs", 2.7), ("epochs", True), ("backup_before_save", 1),
        ("output_model_format", "CKPT"), ("seed", -1), ("workspace_dir", "a\0b"), ("workspace_dir", "\ud800"), ("ema_decay", 1.5),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_the_reader_and_names_its_key(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"^{key} is "):
        load({"concepts": CONCEPTS, key: value})


@pytest.mark.parametrize("given", ["32", 32, 32.0])
def test_a_resolution_is_read_as_onetrainer_writes_it_and_as_a_number(given: object) -> None:
    assert load({"concepts": CONCEPTS, "resolution": given}).config.resolution == 32


def test_keys_of_onetrainer_are_ignored_and_keys_of_nobody_are_told_with_the_nearest_known_one() -> None:
    loaded = load({"concepts": [{"path": "x", "loss_weight": 1.0, "pth": "y"}], "lora_rank": 4, "epoch": 3, "__version": 11})
    assert loaded.ignored == ["lora_rank", "concepts[].loss_weight"]
    assert loaded.unknown == [("epoch", "epochs"), ("concepts[].pth", "path")]


def test_concepts_and_samples_are_read_from_the_files_that_the_config_names(tmp_path: Path) -> None:
    (tmp_path / "concepts.json").write_text('[{"path": "images", "name": "from the file"}]')
    (tmp_path / "samples.json").write_text('[{"prompt": "from the file"}]')
    files = {"concept_file_name": str(tmp_path / "concepts.json"), "sample_definition_file_name": str(tmp_path / "samples.json")}
    config = load(files).config
    assert [concept.name for concept in config.concepts or ()] == ["from the file"]
    assert [sample.prompt for sample in config.samples or ()] == ["from the file"]


def test_a_concept_file_that_is_not_there_is_a_wrong_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="concepts is missing"):
        load({"concept_file_name": str(tmp_path / "none.json")})


def test_the_config_as_json_is_read_back_the_same(tmp_path: Path) -> None:
    config = load(config_for(tmp_path)).config
    assert load(config.to_json()).config == config
