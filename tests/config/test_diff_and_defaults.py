import pytest

from daemon.config.defaults import defaults_of, kinds_of, known_keys
from daemon.config.diff import Change, changes, is_same

SCHEMA = {
    "type": "object",
    "properties": {
        "epochs": {"type": "integer", "default": 100},
        "name": {"type": "string"},
        "optimizer": {"$ref": "#/$defs/Optimizer"},
        "cloud": {"anyOf": [{"$ref": "#/$defs/Cloud"}, {"type": "null"}], "default": None},
        "unet": {"type": "object", "properties": {"train": {"type": "boolean", "default": True}, "lr": {"type": ["number", "null"]}}},
        "ema": {"enum": ["OFF", "GPU"]},
    },
    "$defs": {
        "Optimizer": {"properties": {"beta": {"type": "number", "default": 0.9}, "eps": {"default": None}}, "default": {"beta": 0.5}},
        "Cloud": {"type": "object", "properties": {"on": {"type": "boolean", "default": False}}},
    },
}  # fmt: skip


def test_defaults_are_those_of_nested_objects_too_and_a_default_of_null_stays() -> None:
    assert defaults_of(SCHEMA) == {"epochs": 100, "optimizer": {"beta": 0.5, "eps": None}, "cloud": None, "unet": {"train": True}}
    assert defaults_of({"type": "object"}) == {}


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = {"properties": {"inner": {"$ref": "#"}, "a": {"default": 1}}}
    assert defaults_of(schema)["a"] == 1
    assert known_keys(schema, ["inner"] * 30) is not None
    assert kinds_of({"$ref": "#"}, {"$ref": "#"}) == frozenset()


def test_keys_and_kinds_are_found_through_references_and_alternatives() -> None:
    assert list(known_keys(SCHEMA, ["cloud"]) or ()) == ["on"]
    assert known_keys(SCHEMA, ["epochs"]) is None
    assert known_keys(SCHEMA, ["nothing", "below"]) is None
    assert kinds_of(SCHEMA["properties"]["unet"]["properties"]["lr"], SCHEMA) == {"number", "null"}  # type: ignore[index]  # of object
    assert kinds_of({"enum": ["OFF"]}, SCHEMA) == {"string"}
    assert kinds_of({"$ref": "#/$defs/Cloud"}, SCHEMA) == {"object"}


def test_objects_are_compared_by_key_and_lists_as_a_whole() -> None:
    base = {"a": 1, "same": [1, {"b": 2.0}], "o": {"x": 1, "a/b~": 2}, "gone": None, "__version": 1}
    config = {"o": {"x": 1, "a/b~": 3, "new": None}, "a": 1.0, "same": [1, {"b": 2}], "list": [], "__version": 2}
    assert list(changes(base, config)) == [
        Change("/o/a~1b~0", "changed", 2, 3),
        Change("/o/new", "added", None, None),
        Change("/gone", "removed", None, None),
        Change("/list", "added", None, []),
    ]


@pytest.mark.parametrize(
    ("one", "other"), [(True, 1), (False, 0), (None, False), ([True], [1]), ({"a": 0}, {"a": False}), ("1", 1), ({}, [])]
)
def test_values_of_different_kinds_are_different(one: object, other: object) -> None:
    assert not is_same(one, other)
    assert not is_same(other, one)
