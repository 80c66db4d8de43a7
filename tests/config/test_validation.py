import json
from pathlib import Path
from typing import Any

import pytest

from daemon.config.described import Described
from daemon.config.validation import MAX_FINDINGS, Validator
from daemon.paths import Roots

CONCEPT = {
    "type": "object",
    "required": ["path"],
    "properties": {
        "path": {"type": "string"},
        "enabled": {"type": "boolean"},
        "type": {"type": "string", "enum": ["STANDARD", "VALIDATION"]},
    },
    "x-ignored": ["loss_weight"],
}
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"optimizer": {"type": "object", "properties": {"name": {"enum": ["ADAM", "SGD"]}, "beta1": {"type": ["number", "null"]}}}},
    "properties": {
        "learning_rate": {"type": "number", "minimum": 0, "maximum": 10},
        "epochs": {"type": "integer", "minimum": 1},
        "resolution": {"anyOf": [{"type": "integer", "multipleOf": 4}, {"type": "string", "pattern": "^[0-9]{1,9}$"}]},
        "optimizer": {"anyOf": [{"$ref": "#/$defs/optimizer"}, {"type": "null"}]},
        "concepts": {"type": ["array", "null"], "items": CONCEPT},
        "samples": {
            "anyOf": [{"type": "array", "items": {"type": "object", "properties": {"prompt": {"type": "string"}}}}, {"type": "null"}]
        },
        "concept_file_name": {"type": "string", "default": "training_concepts/concepts.json"},
        "sample_definition_file_name": {"type": "string", "default": ""},
        "workspace_dir": {"type": "string"},
        "output_model_destination": {"type": "string"},
    },
    "additionalProperties": True,
    "x-ignored": ["base_model_name"],
}


@pytest.fixture
def validator(tmp_path: Path) -> Validator:
    (tmp_path / "digits").mkdir()
    (tmp_path / "file").write_text("")
    return validator_of(SCHEMA, tmp_path)


def validator_of(schema: dict[str, Any], folder: Path) -> Validator:
    described = Described("builtin", schema)
    return Validator(lambda: described, Roots([folder], folder))


def good(**more: object) -> dict[str, object]:
    return {"concepts": [{"path": "digits"}], "learning_rate": 0.1, "epochs": 2, **more}


def test_a_good_config_has_nothing_to_tell(validator: Validator) -> None:
    found = validator.validate(good(__version=9, optimizer={"name": "SGD", "beta1": None}, workspace_dir="w"))
    assert (found.valid, found.errors, found.warnings) == (True, [], [])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"learning_rate": "abc"}, '/learning_rate: "abc" is not a number; allowed: number from 0 to 10'),
        ({"learning_rate": 11}, "/learning_rate: 11 is not in the range; allowed: number from 0 to 10"),
        ({"epochs": True}, "/epochs: true is not an integer; allowed: integer from 1"),
        (
            {"optimizer": {"name": "ADAMM"}},
            '/optimizer/name: "ADAMM" is not one of the allowed values; did you mean ADAM?; allowed: ADAM, SGD',
        ),
        ({"resolution": 5}, "/resolution: 5 is not one of the allowed values; allowed: integer or string like ^[0-9]{1,9}$"),
        ({"concepts": 5}, "/concepts: 5 is not an array or null"),
        ({"concepts": [{}]}, "/concepts/0: path is missing"),
        ({"samples": [{"prompt": 1}]}, "/samples/0/prompt: 1 is not a string"),
        (
            {"concepts": [{"path": "digits", "type": "X"}]},
            '/concepts/0/type: "X" is not one of the allowed values; allowed: STANDARD, VALIDATION',
        ),
        ({"concepts": [{"path": "none"}]}, '/concepts/0/path: "none" is not a folder: {base}/none does not exist'),
        ({"concepts": [{"path": "file"}]}, '/concepts/0/path: "file" is not a folder: {base}/file is a file'),
        ({"concepts": None, "concept_file_name": "c.json"}, '/concept_file_name: "c.json" is not a file: {base}/c.json does not exist'),
    ],
)
def test_an_error_says_the_key_the_value_and_what_is_allowed(
    validator: Validator, tmp_path: Path, change: dict[str, object], line: str
) -> None:
    found = validator.validate(good(**change))
    assert not found.valid
    assert len(found.errors) == 1
    assert found.errors[0].startswith(line.replace("{base}", str(tmp_path)))


@pytest.mark.parametrize("key", ["workspace_dir", "output_model_destination"])
@pytest.mark.parametrize("path", ["/etc/x", "../../x", "w/../../../x"])
def test_a_folder_to_write_to_outside_the_roots_is_an_error(validator: Validator, key: str, path: str) -> None:
    [error] = validator.validate(good(**{key: path})).errors
    assert error.startswith(f"/{key}: {path!r} is outside the folders that clients may name")


def test_a_concept_behind_a_link_out_of_the_roots_is_an_error(validator: Validator, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    [error] = validator.validate(good(concepts=[{"path": "link"}])).errors
    assert "outside the folders" in error


def test_an_unknown_key_is_a_warning_that_names_the_nearest(validator: Validator) -> None:
    found = validator.validate(good(learning_rat=1, optimizer={"nam": 1}, concepts=[{"path": "digits", "enabld": True}], zzz=1))
    assert found.valid
    assert sorted(found.warnings) == [
        "/concepts/0/enabld: no such key; did you mean enabled?",
        "/learning_rat: no such key; did you mean learning_rate?",
        "/optimizer/nam: no such key; did you mean name?",
        "/zzz: no such key",
    ]


def test_a_known_key_without_effect_is_a_warning(validator: Validator) -> None:
    found = validator.validate(good(base_model_name="x", concepts=[{"path": "digits", "loss_weight": 1}]))
    assert sorted(found.warnings) == [
        "/base_model_name: has no effect with this trainer",
        "/concepts/0/loss_weight: has no effect with this trainer",
    ]


def test_a_disabled_concept_may_be_missing_but_one_must_be_enabled(validator: Validator) -> None:
    found = validator.validate(good(concepts=[{"path": "none", "enabled": False}]))
    assert found.errors == ["/concepts: none is enabled: there is nothing to learn from"]


def test_a_part_of_a_config_is_valid_and_warned_of_what_the_defaults_lack(validator: Validator) -> None:
    found = validator.validate({"epochs": 1})
    assert found.valid
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith('/concept_file_name: "training_concepts/concepts.json" is not a file')


def test_a_missing_file_of_samples_only_warns(validator: Validator) -> None:
    found = validator.validate(good(sample_definition_file_name="s.json"))
    assert found.valid
    assert found.warnings[0].startswith('/sample_definition_file_name: "s.json" is not a file')


def test_schemas_that_forbid_other_keys_still_only_warn(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    found = validator_of({**SCHEMA, "additionalProperties": False}, tmp_path).validate(good(zzz=1))
    assert found.valid
    assert "/zzz: no such key" in found.warnings


@pytest.mark.parametrize(
    "config",
    [
        {"concepts": [None, 1, [], {"path": None}, {"path": ""}, {"path": "\0"}, {"path": "a" * 5000}, {"enabled": "no"}]},
        {"concepts": {"0": {}}, "samples": "x", "optimizer": []},
        {"concept_file_name": 5, "sample_definition_file_name": [], "workspace_dir": {}},
        {"": 1, "~": 1, "a/b": 1, "x" * 10_000: 1},
        {"learning_rate": 1e308, "epochs": 2**63, "resolution": 0.1},
    ],
)
def test_a_config_of_nonsense_gets_findings_and_no_exception(validator: Validator, config: dict[str, object]) -> None:
    found = validator.validate(config)
    assert all(len(line) < 6000 for line in found.errors + found.warnings)


def test_the_findings_are_bounded(validator: Validator) -> None:
    found = validator.validate(good(concepts=[{"path": "none", "x": 1}] * 10_000))
    assert len(found.errors) == len(found.warnings) == MAX_FINDINGS
    assert found.errors[-1].startswith("and ")


def test_keys_are_escaped_as_in_a_json_pointer(validator: Validator) -> None:
    assert "/a~1b~0c: no such key" in validator.validate(good(**{"a/b~c": 1})).warnings


def test_the_findings_are_json(validator: Validator) -> None:
    found = validator.validate(good(concepts=[{"path": "x" * 100_000}]))
    assert json.dumps(found.errors)
