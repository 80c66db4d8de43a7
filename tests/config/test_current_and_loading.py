import os
from pathlib import Path

import pytest

from daemon.config.current import CurrentConfig
from daemon.config.loading import MAX_BYTES, load_config_file
from daemon.config.merge import deep_merge
from daemon.data import data_folder
from daemon.errors import InvalidError, NotFoundError, UnavailableError


def test_there_is_no_current_config_at_first(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="PUT /config/current"):
        CurrentConfig(tmp_path / "current.json").get()


def test_a_partial_put_merges_and_a_whole_one_replaces(tmp_path: Path) -> None:
    current = CurrentConfig(tmp_path / "state" / "current.json")
    assert current.put({"a": {"b": 1}}, partial=True) == {"a": {"b": 1}}
    assert current.put({"a": {"c": 2}}, partial=True) == {"a": {"b": 1, "c": 2}}
    assert current.put({"x": 1}, partial=False) == current.get() == {"x": 1}
    current.set({"y": 1})
    assert CurrentConfig(tmp_path / "state" / "current.json").get() == {"y": 1}


def test_a_current_config_that_was_broken_by_hand_is_told_and_can_be_replaced(tmp_path: Path) -> None:
    current = CurrentConfig(tmp_path / "current.json")
    (tmp_path / "current.json").write_text("{")
    with pytest.raises(InvalidError, match=r"current\.json: not valid JSON"):
        current.get()
    with pytest.raises(InvalidError):
        current.put({}, partial=True)
    current.put({"a": 1}, partial=False)
    assert current.get() == {"a": 1}


def test_secrets_are_kept_apart_and_shown_to_runs_alone(tmp_path: Path) -> None:
    current = CurrentConfig(tmp_path / "current.json")
    assert current.put({"a": 1, "secrets": {"huggingface_token": "t"}, "cloud": {"password": "p", "x": 1}}, partial=False) == {
        "a": 1, "cloud": {"x": 1},
    }  # fmt: skip
    assert current.get() == {"a": 1, "cloud": {"x": 1}}
    assert current.put({"a": 2}, partial=False) == {"a": 2}
    assert current.with_secrets() == {"a": 2, "secrets": {"huggingface_token": "t"}}
    current.put({"secrets": {"cloud": {"password": "p"}}}, partial=True)
    assert current.with_secrets() == {"a": 2, "secrets": {"huggingface_token": "t", "cloud": {"password": "p"}}}
    assert b'"t"' not in (tmp_path / "current.json").read_bytes()
    current.put({"secrets": {"huggingface_token": "", "cloud": {"port": 0}}}, partial=True)  # as OneTrainer writes empty ones
    assert "secrets" in current.with_secrets()
    current.put({"secrets": None}, partial=True)
    assert current.with_secrets() == {"a": 2}
    current.put({"secrets": {"huggingface_token": "t"}}, partial=True)
    current.set({"b": 1})
    assert current.with_secrets() == {"b": 1}


def test_a_current_config_of_an_earlier_daemon_that_holds_its_secrets_is_read(tmp_path: Path) -> None:
    (tmp_path / "current.json").write_text('{"a": 1, "secrets": {"huggingface_token": "t"}}')
    current = CurrentConfig(tmp_path / "current.json")
    assert (current.get(), current.with_secrets()["secrets"]) == ({"a": 1}, {"huggingface_token": "t"})
    assert current.put({"b": 2}, partial=True) == {"a": 1, "b": 2}
    assert current.with_secrets() == {"a": 1, "b": 2, "secrets": {"huggingface_token": "t"}}


def test_merging_leaves_both_sides_as_they_were() -> None:
    base: dict[str, object] = {"a": {"b": 1}, "l": [1]}
    over: dict[str, object] = {"a": {"c": 2}, "l": [], "n": None}
    assert deep_merge(base, over) == {"a": {"b": 1, "c": 2}, "l": [], "n": None}
    assert base == {"a": {"b": 1}, "l": [1]}
    assert deep_merge({"a": 1}, {"a": {"b": 1}}) == {"a": {"b": 1}}
    assert deep_merge({"a": {"b": 1}}, {"a": None}) == {"a": None}


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        load_config_file(tmp_path / "missing.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotFoundError, match="no such file"):
        load_config_file(tmp_path / "file" / "below.json")


@pytest.mark.timeout(5)
def test_pipes_devices_folders_and_links_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "file").write_text("{}")
    for path, why in (
        (tmp_path / "pipe", "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (tmp_path, "not a regular file"),
        (tmp_path / "link", "symbolic link"),
        (Path("a" * 300), "cannot be read"),
        (Path("a\0b"), "is not a path"),
    ):
        with pytest.raises(InvalidError, match=why):
            load_config_file(path)


def test_a_file_that_says_it_is_empty_but_never_ends_is_bounded() -> None:
    with pytest.raises(InvalidError):
        load_config_file(Path("/proc/self/maps"))


def test_a_sparse_file_of_a_terabyte_is_refused_without_reading_it(tmp_path: Path) -> None:
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InvalidError, match=f"larger than {MAX_BYTES} bytes"):
        load_config_file(tmp_path / "huge.json")


def test_a_message_names_the_file_and_the_place(tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text('{\n  "a": oops\n}')
    with pytest.raises(InvalidError) as caught:
        load_config_file(file)
    assert caught.value.message == f"{file}: not valid JSON: expecting value (line 2, column 8)"


def test_the_shipped_configs_are_found() -> None:
    assert (data_folder("configs") / "onetrainerd.toml").is_file()


def test_a_shipped_folder_that_is_missing_is_told_with_what_to_do() -> None:
    with pytest.raises(UnavailableError, match="install onetrainerd again"):
        data_folder("nothing")
