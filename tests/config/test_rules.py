"""What no schema can say of a config, and configs of older versions. The catalog is made by hand, as OneTrainer's is."""

from pathlib import Path
from typing import Any

import pytest

from daemon.config.described import Described
from daemon.config.validation import Reading, Validation, Validator
from daemon.paths import Roots

PART = {"type": "object", "properties": {"model_name": {"type": "string", "default": ""}, "weight_dtype": {"$ref": "#/$defs/DataType"}}}
CONCEPT = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "enabled": {"type": "boolean"},
        "type": {"type": "string", "enum": ["STANDARD", "VALIDATION"]},
        "balancing": {"type": "number"},
        "balancing_strategy": {"type": "string"},
        "image": {"type": "object"},
        "include_subdirectories": {"type": "boolean"},
    },
    "x-version": 2,
    "x-migrations": {"1": {"needs": [], "touched": ["type"], "loose": [], "retired": ["validation_concept"]}},
}
TEXTS = {"workspace_dir": "work", "cache_dir": "cache", "output_model_destination": "out/model.safetensors", "resolution": "512"}
NUMBERS = {"epochs": 3, "batch_size": 1, "gradient_accumulation_steps": 1, "dataloader_threads": 2, "lora_rank": 16}
TRAIN: dict[str, Any] = {
    "type": "object",
    "x-version": 3,
    "x-migrations": {
        "1": {"needs": ["weight_dtype"], "touched": ["unet", "output_model_format"], "loose": ["/unet/weight_dtype"],
              "retired": ["weight_dtype", "old_"]},
        "2": {"needs": [], "touched": ["output_model_format"], "loose": ["/epochs"], "retired": ["gradient_checkpointing"]},
    },
    "properties": {
        "model_type": {"$ref": "#/$defs/ModelType", "default": "SD"},
        "training_method": {"$ref": "#/$defs/Method", "default": "FINE_TUNE"},
        "output_model_format": {"$ref": "#/$defs/Format", "default": "DIFFUSERS"},
        "base_model_name": {"type": "string", "default": "org/model"},
        "unet": {"$ref": "#/$defs/Part"},
        "vae": {"$ref": "#/$defs/Part"},
        "concepts": {"type": ["array", "null"], "items": {"$ref": "#/$defs/Concept"}, "default": None},
        "concept_file_name": {"type": "string", "default": "concepts.json"},
        "samples": {"type": ["array", "null"], "default": None},
        "sample_definition_file_name": {"type": "string", "default": "samples.json"},
        "sample_after_unit": {"type": "string", "default": "NEVER"},
        "only_cache": {"type": "boolean", "default": False},
        "validation": {"type": "boolean", "default": False},
        **{key: {"type": "string", "default": value} for key, value in TEXTS.items()},
        **{key: {"type": "integer", "default": value} for key, value in NUMBERS.items()},
    },
}  # fmt: skip
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$ref": "#/$defs/Train",
    "x-text-numbers": True,
    "$defs": {
        "Train": TRAIN, "Part": PART, "Concept": CONCEPT,
        "ModelType": {"type": "string", "enum": ["SD", "FLUX"]},
        "Method": {"type": "string", "enum": ["FINE_TUNE", "LORA", "EMBEDDING"]},
        "Format": {"type": "string", "enum": ["DIFFUSERS", "SAFETENSORS", "KOHYA_LORA"]},
        "DataType": {"type": "string", "enum": ["FLOAT_16", "FLOAT_32"], "default": "FLOAT_32"},
    },
}  # fmt: skip
MODELS = (
    {"name": "SD", "training_methods": ["FINE_TUNE", "LORA"], "parts": ["unet", "vae"],
     "output_formats": {"FINE_TUNE": ["DIFFUSERS"], "LORA": ["KOHYA_LORA"]}},
    {"name": "FLUX"},
)  # fmt: skip


@pytest.fixture
def validator(tmp_path: Path) -> Validator:
    (tmp_path / "images/deeper").mkdir(parents=True)
    for name in ("1.png", "2.PNG", "2.txt", ".3.png", "deeper/4.webp"):
        (tmp_path / "images" / name).touch()
    described = Described("onetrainer", SCHEMA, 3, MODELS)
    return Validator(lambda: described, Roots([tmp_path], tmp_path))


def good(**more: object) -> dict[str, object]:
    return {"concepts": [{"path": "images"}], **more}


def lora(**more: object) -> dict[str, object]:
    return good(training_method="LORA", output_model_format="KOHYA_LORA", **more)


def test_a_good_config_has_nothing_to_tell(validator: Validator) -> None:
    for config in (good(), lora(), good(__version=3, epochs="4", resolution=768, batch_size=2), good(model_type="FLUX")):
        found = validator.validate(config, is_starting=True)
        assert (found.errors, found.warnings) == ([], [])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"training_method": "EMBEDDING"},
            '/training_method: "EMBEDDING" is not possible with the model type SD; allowed: FINE_TUNE, LORA',
        ),
        ({"training_method": "LORA"}, '/output_model_format: "DIFFUSERS", the default, cannot be written for LORA of the model type SD'),
        ({"output_model_format": "SAFETENSORS"}, '/output_model_format: "SAFETENSORS" cannot be written for FINE_TUNE'),
        (
            {"training_method": "LORRA"},
            '/training_method: "LORRA" is not one of the allowed values; did you mean LORA?; allowed: FINE_TUNE',
        ),
        ({"base_model_name": " "}, "/base_model_name: it is empty"),
        ({"base_model_name": "none.safetensors"}, '/base_model_name: "none.safetensors" is no folder and no file'),
        ({"base_model_name": "a/b/c/d"}, '/base_model_name: "a/b/c/d" is no folder and no file'),
        ({"base_model_name": "images/none"}, '/base_model_name: "images/none" is no folder and no file'),
        ({"workspace_dir": ""}, "/workspace_dir: it is empty"),
        ({"workspace_dir": "images/1.png"}, '/workspace_dir: "images/1.png" cannot be written: {base}/images/1.png is a file'),
        ({"output_model_destination": "images/1.png/x"}, '/output_model_destination: "images/1.png/x" cannot be written'),
        ({"concepts": []}, "/concepts: none is enabled: there is nothing to learn from"),
        ({"concepts": [{"path": "images", "type": "VALIDATION"}]}, "/concepts: they are only for validation"),
        ({"batch_size": 3}, "/batch_size: 3 is more than the 2 images of an epoch"),
        ({"batch_size": 3, "concepts": [{"path": "images", "balancing": 1.4}]}, "/batch_size: 3 is more than the 2.8 images"),
        (
            {"batch_size": "9", "concepts": [{"path": "images", "balancing": 8, "balancing_strategy": "SAMPLES"}]},
            "/batch_size: 9 is more than the 8 images",
        ),
        ({"epochs": 0}, "/epochs: 0 is not in the range; allowed: integer from 1"),
        ({"gradient_accumulation_steps": "0"}, "/gradient_accumulation_steps: 0 is not in the range"),
        ({"resolution": "big"}, '/resolution: "big" is not a resolution'),
        ({"resolution": "512x"}, '/resolution: "512x" is not a resolution'),
        ({"sample_after_unit": "EPOCH", "sample_definition_file_name": "s.json"}, '/sample_definition_file_name: "s.json" is not a file'),
        (
            {"concepts": [{"path": "images", "image": {"enable_resolution_override": True, "resolution_override": "?"}}]},
            '/concepts/0/image/resolution_override: "?" is not a resolution',
        ),
    ],
)
def test_what_onetrainer_would_say_at_the_end_of_the_night_is_said_now(
    validator: Validator, tmp_path: Path, change: dict[str, object], line: str
) -> None:
    found = validator.validate(good(**change))
    assert len(found.errors) == 1
    assert found.errors[0].startswith(line.replace("{base}", str(tmp_path)))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"only_cache": True}, "/only_cache: it is on"),
        ({"validation": True}, "/validation: it is on, but no enabled concept"),
        ({"resolution": "513,768"}, '/resolution: "513,768": 513 is no multiple of 8'),
        ({"unet": {"model_name": "none.safetensors"}}, ""),
        ({"vae": {"model_name": "none.safetensors"}}, '/vae/model_name: "none.safetensors" is no folder and no file'),
    ],
)
def test_what_need_not_fail_is_warned_of(validator: Validator, change: dict[str, object], line: str) -> None:
    found = validator.validate(good(**change))
    assert found.errors == []
    assert [warning[: len(line)] for warning in found.warnings] == ([line] if line else [])


@pytest.mark.parametrize(
    "change",
    [
        {"base_model_name": "images"}, {"base_model_name": "images/1.png"}, {"base_model_name": "org/other"},
        {"base_model_name": "https://example.org/a/b/model.safetensors"}, {"resolution": "512, 768"}, {"resolution": "512x768"},
        {"batch_size": 3, "concepts": [{"path": "images", "include_subdirectories": True}]},
        {"batch_size": 3, "concepts": [{"path": "images"}, {"path": "images"}]},
        {"batch_size": 4, "concepts": [{"path": "images", "balancing": 2}]},
    ],
)  # fmt: skip
def test_what_is_right_is_passed_over(validator: Validator, change: dict[str, object]) -> None:
    assert validator.validate(good(**change)).errors == []


def test_what_a_preset_may_lack_is_an_error_only_when_a_run_is_to_start(validator: Validator) -> None:
    config = {"epochs": 2, "sample_after_unit": "EPOCH"}
    assert validator.validate(config).valid
    found = validator.validate(config, is_starting=True)
    assert [line.partition(":")[0] for line in found.errors] == ["/concept_file_name", "/sample_definition_file_name"]


def test_only_paths_that_nobody_may_name_are_refused_for_good(validator: Validator) -> None:
    assert validator.validate(good(epochs=0, base_model_name="none.bin")).refused == []
    assert len(validator.validate(good(epochs=0, workspace_dir="/etc/x")).refused) == 1


def test_numbers_as_text_and_texts_as_numbers_are_what_onetrainer_reads(validator: Validator) -> None:
    numbers: list[object] = ["5", 5.0, "+5"]
    for value in numbers:
        assert validator.validate(good(epochs=value)).valid, value
    others: list[object] = [5.5, "5.0", "", None, True]
    for value in others:
        assert not validator.validate(good(epochs=value)).valid, value
    resolutions: list[tuple[object, bool]] = [(512, True), (512.0, False), (True, False), (None, False), ([], False)]
    for resolution, is_right in resolutions:
        assert validator.validate(good(resolution=resolution)).valid is is_right, resolution


def test_of_an_older_config_what_migrations_leave_alone_is_judged(validator: Validator) -> None:
    older = {"__version": 1, "weight_dtype": "X", "old_things": 1, "gradient_checkpointin": True, **good()}
    found = validator.validate({**older, "unet": {"weight_dtype": "NONE"}, "output_model_format": "SAFETENSORS"})
    assert found.errors == []
    assert found.warnings[0].startswith("/__version: the config is of version 1, and OneTrainer migrates it to 3 first")
    assert found.warnings[1:] == ["/gradient_checkpointin: no such key"]
    found = validator.validate({**older, "unet": {"model_name": []}, "epochs": "two"})
    assert [line.partition(":")[0] for line in found.errors] == ["/unet/model_name", "/epochs"]
    assert validator.validate(good(__version=2, epochs="two")).valid  # it may vanish on the way


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"__version": 1}, "/__version: version 1 cannot be brought up to 3 by OneTrainer without weight_dtype"),
        ({"__version": 4}, "/__version: 4 is unknown to this OneTrainer, which knows 3; update OneTrainer"),
        ({"__version": "3"}, "/__version: '3' is unknown"),
        ({"__version": 3, "concepts": [{"path": "images", "__version": 3}]}, "/concepts/0/__version: 3 is unknown to this OneTrainer"),
    ],
)
def test_a_version_that_cannot_be_migrated_is_an_error(validator: Validator, config: dict[str, object], line: str) -> None:
    found = validator.validate(good(**config))
    assert len(found.errors) == 1
    assert found.errors[0].startswith(line)


def test_a_concept_of_an_older_version_keeps_its_old_names(validator: Validator) -> None:
    concept = {"path": "images", "validation_concept": False}
    assert validator.validate({"__version": 3, "concepts": [{"__version": 1, **concept}]}).warnings == []
    assert validator.validate({"__version": 3, "concepts": [{"__version": 2, **concept}]}).warnings == [
        "/concepts/0/validation_concept: no such key"
    ]


def test_a_reading_in_depth_stands_for_the_schema(validator: Validator) -> None:
    def judge(config: dict[str, Any], reading: Reading) -> Validation:
        return validator.validate_reading(config, reading)

    became = {**good(), "training_method": "LORA", "output_model_format": "DIFFUSERS"}
    found = judge({"learning_rat": 1, **good()}, Reading([], [("learning_rat",)], became))
    assert [line.partition(":")[0] for line in found.errors] == ["/output_model_format"]
    assert found.warnings == ["/learning_rat: no such key"]
    assert found.config == became
    found = judge(good(epochs=0), Reading([(("epochs",), "'x' is not allowed")], [], {**good(), "epochs": 0}))
    assert found.errors == ["/epochs: 'x' is not allowed"]
    assert judge({}, Reading([((), "it cannot be migrated")], [], None)).errors == ["it cannot be migrated"]


def test_a_trainer_that_is_not_known_yet_is_a_warning(tmp_path: Path) -> None:
    described = Described("onetrainer", problem="it is being asked")
    found = Validator(lambda: described, Roots([tmp_path], tmp_path)).validate({"epochs": "two"})
    assert found.valid
    assert "it is being asked" in found.warnings[0]
