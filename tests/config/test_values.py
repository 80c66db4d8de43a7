from typing import Any

import pytest

from daemon.config.values import read_values, stored, with_values
from daemon.errors import InvalidError

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "epochs": {"type": "integer"}, "learning_rate": {"type": "number"}, "resolution": {"type": "string"},
        "train": {"type": "boolean"}, "workspace_dir": {"type": "string"}, "size": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "concepts": {"type": ["array", "null"]}, "decay": {"type": ["number", "null"]},
        "optimizer": {"type": "object", "properties": {"optimizer": {"enum": ["ADAM"]}, "beta1": {"type": ["number", "null"]}}},
    },
}  # fmt: skip


def put(*lines: str, config: dict[str, Any] | None = None, schema: dict[str, Any] = SCHEMA, is_migrated: bool = False) -> dict[str, Any]:
    return with_values(config or {}, read_values(lines), schema, is_migrated=is_migrated)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("epochs=7", {"epochs": 7}),
        ("learning_rate=3e-4", {"learning_rate": 3e-4}),
        ("learning_rate=inf", {"learning_rate": "inf"}),
        ("learning_rate=1", {"learning_rate": 1}),
        ("resolution=512", {"resolution": "512"}),
        ("resolution=512,768=x", {"resolution": "512,768=x"}),
        ("resolution=", {"resolution": ""}),
        ("size=5", {"size": "5"}),
        ("decay=0.5", {"decay": 0.5}),
        ("train=TRUE", {"train": True}),
        ("train=1", {"train": True}),
        ("train=Yes", {"train": True}),
        ("train=false", {"train": False}),
        ("train=off", {"train": False}),
        ("train=", {"train": False}),
        ("optimizer.optimizer=ADAM", {"optimizer": {"optimizer": "ADAM"}}),
        ("optimizer.beta1=.9", {"optimizer": {"beta1": 0.9}}),
        ("secrets.huggingface_token=hf_x", {"secrets": {"huggingface_token": "hf_x"}}),
    ],
)
def test_a_text_is_read_as_onetrainers_command_line_reads_it(line: str, value: dict[str, Any]) -> None:
    assert put(line) == value


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("epochs", "has no '='"),
        ("=5", "empty part"),
        ("a..b=5", "empty part"),
        ("epochs=two", "not a whole number"),
        ("epochs=2.5", "not a whole number"),
        ("learning_rate=fast", "not a number"),
        ("learning_rate=nan", "not a number"),
        ("train=ture", "neither true nor false"),
        ("epoch=5", "did you mean epochs?"),
        ("optimiser.beta1=1", "did you mean optimizer?"),
        ("optimizer.beta=1", "did you mean beta1?"),
        ("concepts=[]", "as an object"),
        ("decay=", "not a number"),
    ],
)
def test_what_onetrainer_would_only_print_or_crash_on_is_refused(line: str, told: str) -> None:
    with pytest.raises(InvalidError) as caught:
        put(line)
    assert told in caught.value.message
    assert caught.value.code == "bad_config_value"


def test_later_values_win_and_the_rest_of_an_object_stays() -> None:
    config = {"optimizer": {"optimizer": "ADAM", "beta1": 0.1}, "epochs": 1}
    assert put("epochs=2", "optimizer.beta1=0.2", "epochs=3", config=config) == {
        "optimizer": {"optimizer": "ADAM", "beta1": 0.2}, "epochs": 3,
    }  # fmt: skip
    assert config["epochs"] == 1


def test_an_object_holds_texts_to_read_and_values_as_they_are() -> None:
    given = {"epochs": "7", "learning_rate": 0.5, "optimizer": {"beta1": None}, "concepts": [{"path": "x"}], "train": "yes"}
    assert with_values({}, read_values(given), SCHEMA, is_migrated=False) == {
        "epochs": 7, "learning_rate": 0.5, "optimizer": {"beta1": None}, "concepts": [{"path": "x"}], "train": True,
    }  # fmt: skip


def test_where_no_schema_is_known_texts_are_left_to_the_trainer_but_for_the_paths_that_the_daemon_needs() -> None:
    schema = {"type": "object"}
    assert put("epochs=7", "workspace_dir=w", "optimizer.beta1=1", schema=schema) == {"workspace_dir": "w"}
    values = read_values(["epochs=7", "secrets.huggingface_token=x", "epochs=8"])
    assert stored(values) == {"epochs": "8"}


def test_a_config_that_is_yet_to_be_migrated_keeps_what_an_object_would_replace() -> None:
    assert put("optimizer.beta1=1", "epochs=2", config={"optimizer": "ADAM"}, is_migrated=True) == {"optimizer": "ADAM", "epochs": 2}


def test_more_values_than_a_person_gives_are_refused() -> None:
    with pytest.raises(InvalidError, match="more than"):
        read_values([f"a{number}=1" for number in range(1001)])
