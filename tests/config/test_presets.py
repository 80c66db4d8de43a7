import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from daemon.config.preset_names import MAX_DEPTH, by_reference
from daemon.config.presets import Presets
from daemon.errors import ConflictError, DaemonError, ForbiddenError, InvalidError, NotFoundError, UnavailableError

ONETRAINER = Path(os.environ.get("ONETRAINER_HOME", "/no/onetrainer")) / "training_presets"


@pytest.fixture
def presets(tmp_path: Path) -> Presets:
    for folder in ("builtin", "onetrainer/SD1.5", "user"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "builtin/digits.json").write_text('{"epochs": 2, "__description": "Handwritten digits"}')
    (tmp_path / "onetrainer/SD1.5/#sd 1.5 LoRA.json").write_text('{"batch_size": 4}')
    (tmp_path / "onetrainer/#.json").write_text("{}")
    return Presets(tmp_path / "user", tmp_path / "builtin", [tmp_path / "onetrainer"])


def test_the_list_shows_the_users_then_the_built_in_then_onetrainers_nested_ones(presets: Presets) -> None:
    presets.save("mine", {"a": 1})
    rows = [(info.name, info.source, info.group, info.description, info.error) for info in presets.list()]
    assert rows == [
        ("mine", "user", None, None, None),
        ("digits", "builtin", None, "Handwritten digits", None),
        ("#sd 1.5 LoRA", "onetrainer", "SD1.5", None, None),
    ]


@pytest.mark.skipif(not ONETRAINER.is_dir(), reason="OneTrainer is not here")
def test_every_preset_of_the_real_onetrainer_is_listed_and_each_reference_reads_its_own_file(tmp_path: Path) -> None:
    presets = Presets(tmp_path / "user", tmp_path / "builtin", [ONETRAINER])
    listed = presets.list()
    assert sorted(info.path for info in listed) == sorted(str(path) for path in ONETRAINER.rglob("*.json") if path.name != "#.json")
    for info in listed:
        assert info.error is None
        assert info.ref is not None
        assert presets.read(by_reference(info.ref)) == json.loads(Path(info.path).read_bytes())


def test_of_presets_with_one_name_each_is_listed_and_read_by_category_and_origin(presets: Presets, tmp_path: Path) -> None:
    for place, batch in (("SD3", 1), ("SDXL/deep", 2)):
        (tmp_path / "onetrainer" / place).mkdir(parents=True)
        (tmp_path / f"onetrainer/{place}/twin.json").write_text(json.dumps({"batch_size": batch}))
    (tmp_path / "builtin/twin.json").write_text('{"batch_size": 3}')
    twins = [info for info in presets.list() if info.name == "twin"]
    assert [(info.origin, info.category, info.shadowed) for info in twins] == [
        ("builtin", None, False), ("onetrainer", "SD3", True), ("onetrainer", "SDXL/deep", True),
    ]  # fmt: skip
    assert [presets.read(by_reference(str(info.ref)))["batch_size"] for info in twins] == [3, 1, 2]
    assert presets.get("twin") == {"batch_size": 3}
    assert presets.get("twin", category="SDXL/deep") == {"batch_size": 2}
    assert presets.get("twin", origin="onetrainer") == {"batch_size": 1}
    for category, origin in (("SD9", None), (None, "user"), (".", "onetrainer")):
        with pytest.raises(NotFoundError):
            presets.get("twin", category=category, origin=origin)


def test_the_users_presets_have_categories_that_come_and_go_with_them(presets: Presets, tmp_path: Path) -> None:
    presets.save("face", {"a": 1}, category="people/old")
    presets.save("face", {"a": 2}, category="people")
    assert [(info.category, info.shadowed) for info in presets.list() if info.name == "face"] == [("people", False), ("people/old", True)]
    with pytest.raises(ConflictError, match="several presets 'face'") as caught:
        presets.save("face", {"a": 3})
    assert caught.value.code == "ambiguous_preset"
    presets.delete("face", category="people/old")
    assert presets.save("face", {"b": 1}, partial=True) == {"a": 2, "b": 1}, "the one that has the name is meant"
    presets.delete("face")
    assert list((tmp_path / "user").iterdir()) == []


def test_a_category_of_the_user_may_repeat_a_name_that_is_only_read_elsewhere(presets: Presets) -> None:
    with pytest.raises(ConflictError):
        presets.save("#sd 1.5 LoRA", {}, category="SD1.5")
    presets.save("#sd 1.5 LoRA", {"mine": 1}, category="mine")
    assert presets.get("#sd 1.5 LoRA", origin="onetrainer") == {"batch_size": 4}
    assert presets.get("#sd 1.5 LoRA") == {"mine": 1}


@pytest.mark.parametrize(
    "category", ["..", "a/../b", "/etc", "a//b", ".hidden", "a/", "a\0b", "a\nb", "x" * 201, "/".join("abcdefghi"), "a/.."]
)
def test_a_category_that_could_lead_elsewhere_is_refused_and_nothing_is_written(presets: Presets, tmp_path: Path, category: str) -> None:
    for call in (presets.get, presets.delete, lambda name, category: presets.save(name, {}, category=category)):
        with pytest.raises(InvalidError) as caught:
            call("x", category=category)
        assert caught.value.code == "bad_category"
    assert list((tmp_path / "user").iterdir()) == []


def test_a_category_that_is_a_link_is_not_followed(presets: Presets, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "user/link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidError, match="symbolic link"):
        presets.save("x", {}, category="link/deeper")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_origin_that_there_is_not_is_refused(presets: Presets) -> None:
    with pytest.raises(InvalidError, match="user, builtin, onetrainer"):
        presets.get("x", origin="folder")


def test_a_preset_is_saved_read_back_and_deleted(presets: Presets, tmp_path: Path) -> None:
    presets.save("größe 1", {"a": {"b": 1}})
    assert presets.get("größe 1") == {"a": {"b": 1}}
    assert (tmp_path / "user/größe 1.json").stat().st_mode & 0o777 == 0o600
    presets.delete("größe 1")
    with pytest.raises(NotFoundError):
        presets.get("größe 1")
    with pytest.raises(NotFoundError):
        presets.delete("größe 1")


def test_a_partial_save_merges_deeply_and_replaces_lists(presets: Presets) -> None:
    presets.save("p", {"optimizer": {"name": "ADAM", "beta": 1}, "list": [1, 2]})
    presets.save("p", {"optimizer": {"beta": None}, "list": [3]}, partial=True)
    assert presets.get("p") == {"optimizer": {"name": "ADAM", "beta": None}, "list": [3]}


def test_a_partial_save_of_a_new_name_is_the_whole(presets: Presets) -> None:
    assert presets.save("new", {"a": 1}, partial=True) == {"a": 1}


@pytest.mark.parametrize("name", ["digits", "#sd 1.5 LoRA"])
def test_a_preset_that_is_only_read_is_neither_saved_nor_deleted(presets: Presets, name: str) -> None:
    before = presets.get(name)
    with pytest.raises(ConflictError, match="use another name"):
        presets.save(name, {})
    with pytest.raises(ConflictError, match="use another name"):
        presets.delete(name)
    assert presets.get(name) == before


def test_a_built_in_preset_that_comes_later_takes_nothing_from_the_user(presets: Presets, tmp_path: Path) -> None:
    presets.save("new", {"mine": 1})
    (tmp_path / "builtin/new.json").write_text("{}")
    assert presets.get("new") == {"mine": 1}
    presets.save("new", {"mine": 2})
    presets.delete("new")
    assert presets.get("new") == {}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"),
        ("..", "begins with a '.'"),
        (".", "begins with a '.'"),
        (".hidden", "begins with a '.'"),
        ("../../etc/passwd", "has a '/'"),
        ("a/b", "has a '/'"),
        ("/etc/passwd", "has a '/'"),
        ("a\0b", "has a control character"),
        ("a\nb", "has a control character"),
        ("a\u2028b", "has a line separator"),
        ("\udc80", "has half a surrogate pair"),
        (" a", "begins or ends with a space"),
        ("#", "is where OneTrainer's window keeps"),
        ("ä" * 101, "is longer than 200 bytes"),
    ],
)
def test_a_name_that_could_lead_elsewhere_is_refused_by_every_call(presets: Presets, name: str, problem: str) -> None:
    for call in (lambda: presets.get(name), lambda: presets.save(name, {}), lambda: presets.delete(name)):
        with pytest.raises(InvalidError) as caught:
            call()
        assert problem in caught.value.message
        caught.value.message.encode()


def test_the_longest_name_can_be_saved(presets: Presets) -> None:
    presets.save("ä" * 100, {})
    assert presets.get("ä" * 100) == {}


def test_a_decomposed_name_is_the_same_as_the_composed_one(presets: Presets) -> None:
    presets.save("cafe\u0301", {"a": 1})
    assert presets.get("caf\u00e9") == {"a": 1}


def test_a_broken_preset_is_listed_with_its_error_and_refused_with_the_place(presets: Presets, tmp_path: Path) -> None:
    (tmp_path / "user/broken.json").write_text('{"a": 1,\n"a": 2}')
    info = presets.list()[0]
    assert info.error is not None
    assert "occurs twice in one object (line 2, column 1)" in info.error
    with pytest.raises(InvalidError, match="line 2, column 1"):
        presets.get("broken")
    presets.save("broken", {"whole": 1})
    assert presets.list()[0].error is None


def test_links_pipes_hidden_and_deep_files_are_not_listed(presets: Presets, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    deep = folder.joinpath(*"abcdefghijk")
    deep.mkdir(parents=True)
    (deep / "deep.json").write_text("{}")
    folder.joinpath(*"abcdefgh"[:MAX_DEPTH], "edge.json").write_text("{}")
    secret = tmp_path / "secret.json"
    secret.write_text('{"token": "x"}')
    (folder / "link.json").symlink_to(secret)
    (folder / "linked").symlink_to(tmp_path / "user")
    (folder / ".hidden.json").write_text("{}")
    (folder / "notes.txt").write_text("{}")
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    os.close(os.open(os.fsencode(folder) + b"/\xff.json", os.O_CREAT | os.O_WRONLY))
    names = {info.name: info.error for info in presets.list(folder)}
    assert names.keys() == {"edge", "pipe"}
    assert "not a regular file" in str(names["pipe"])
    with pytest.raises(NotFoundError):
        presets.get("link", folder)


def test_a_folder_that_is_named_holds_only_its_own(presets: Presets, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    (folder / "one.json").write_text('{"description": "The first"}')
    [info] = presets.list(folder)
    assert (info.name, info.source, info.description, info.path) == ("one", "folder", "The first", str(folder / "one.json"))
    assert presets.get("one", folder) == {"description": "The first"}


def test_a_folder_that_is_none_is_not_found(presets: Presets, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="is no folder"):
        presets.list(tmp_path / "missing")


def test_missing_folders_hold_nothing(tmp_path: Path) -> None:
    presets = Presets(tmp_path / "a", tmp_path / "b", [tmp_path / "c"])
    assert presets.list() == []
    presets.save("first", {})
    assert [info.name for info in presets.list()] == ["first"]


def test_a_disk_that_refuses_leaves_the_preset_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "user").write_text("a file where the folder should be")
    with pytest.raises(UnavailableError, match="cannot be written"):
        Presets(tmp_path / "user", tmp_path / "b").save("x", {})


def test_what_grew_too_large_by_merging_is_refused_and_the_preset_stays(presets: Presets) -> None:
    presets.save("p", {"a": "x" * 5_000_000})
    with pytest.raises(InvalidError, match="at most"):
        presets.save("p", {"b": "x" * 5_000_000}, partial=True)
    assert list(presets.get("p")) == ["a"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_listed_with_its_error(presets: Presets, tmp_path: Path) -> None:
    (tmp_path / "user/locked.json").write_text("{}")
    (tmp_path / "user/locked.json").chmod(0)
    with pytest.raises(ForbiddenError):
        presets.get("locked")
    assert "may not read it" in str(presets.list()[0].error)


def test_saves_from_many_threads_at_once_all_take_effect(presets: Presets) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: presets.save("p", {str(n): n}, partial=True), range(50)))
    assert presets.get("p") == {str(n): n for n in range(50)}


def test_errors_carry_json_only(presets: Presets) -> None:
    with pytest.raises(DaemonError) as caught:
        presets.get("missing")
    assert json.dumps(dict(caught.value.details))
