"""The index announces each whole file once, and forgets deleted ones."""

import logging
import os
import threading
import time
from pathlib import Path

import pytest

from daemon.samples import index as index_module
from daemon.samples.index import SampleIndex, list_folder
from daemon.samples.names import SampleInfo
from tests.samples import files

PNG = files.image("PNG")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "samples"


def names(infos: list[SampleInfo]) -> list[str]:
    return [info.filename for info in infos]


def age(path: Path, seconds: float) -> None:
    """Set the modification time of *path* to *seconds* ago."""
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def settle(index: SampleIndex) -> None:
    """As if the folders' times had been seen long ago: the next reconcile trusts them."""
    index.reconcile()
    for folder in index._folders.values():
        folder.settled = True


def test_whole_files_are_announced_once_oldest_first(root: Path) -> None:
    for number, name in enumerate(["b.png", "1 - x/a.png", "custom/c.png"]):
        age(files.write(root / name, PNG), 100 - number)
    index = SampleIndex(root)
    assert names(index.reconcile()) == ["b.png", "a.png", "c.png"]
    assert index.reconcile() == []
    assert names(index.newest(2)) == ["c.png", "a.png"]
    assert len(index) == 3


def test_files_of_one_moment_come_in_the_order_of_their_names(root: Path) -> None:
    for number, name in enumerate("cab"):
        os.utime(files.write(root / f"{name}.png", files.image("PNG", 30 - number)), (5000, 5000))
    index = SampleIndex(root)
    assert names(index.reconcile()) == ["a.png", "b.png", "c.png"]
    assert names(index.newest(9)) == ["c.png", "b.png", "a.png"]


@pytest.mark.parametrize("is_settled", [False, True])
def test_a_half_written_file_is_announced_when_it_is_whole(root: Path, is_settled: bool) -> None:
    path = files.write(root / "a.png", PNG[:-5])
    index = SampleIndex(root)
    assert index.reconcile() == []
    if is_settled:
        settle(index)
    with path.open("ab") as file:
        file.write(PNG[-5:])
    assert names(index.reconcile()) == ["a.png"]


def test_a_file_moved_into_place_is_announced(root: Path, tmp_path: Path) -> None:
    root.mkdir()
    index = SampleIndex(root)
    settle(index)
    files.write(tmp_path / "part", PNG).rename(root / "a.png")
    assert names(index.reconcile()) == ["a.png"]


@pytest.mark.parametrize("is_settled", [False, True])
def test_a_file_overwritten_soon_after_is_announced_again(root: Path, is_settled: bool) -> None:
    files.write(root / "a.png", PNG)
    index = SampleIndex(root)
    index.reconcile()
    if is_settled:
        settle(index)
    files.write(root / "a.png", files.image("PNG", 30))
    assert [info.size_bytes for info in index.reconcile()] == [len(files.image("PNG", 30))]
    assert len(index) == 1


def test_a_file_replaced_by_its_own_copy_is_not_announced_again(root: Path, tmp_path: Path) -> None:
    path = files.write(root / "a.png", PNG)
    index = SampleIndex(root)
    index.reconcile()
    copy = files.write(tmp_path / "copy", PNG)
    os.utime(copy, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    copy.rename(path)
    assert index.reconcile() == []


def test_a_file_being_overwritten_is_not_listed_until_it_is_whole_again(root: Path) -> None:
    path = files.write(root / "a.png", PNG)
    index = SampleIndex(root)
    index.reconcile()
    path.write_bytes(PNG[:30])
    assert index.reconcile() == []
    assert index.newest(5) == []


def test_deleted_files_and_folders_are_forgotten(root: Path) -> None:
    files.write(root / "a.png", PNG)
    files.write(root / "custom/b.png", PNG)
    index = SampleIndex(root)
    index.reconcile()
    settle(index)
    (root / "a.png").unlink()
    index.reconcile()
    assert names(index.newest(5)) == ["b.png"]
    (root / "custom/b.png").unlink()
    (root / "custom").rmdir()
    index.reconcile()
    assert index.newest(5) == []


def test_a_missing_samples_folder_lists_nothing_and_forgets_nothing(root: Path, tmp_path: Path) -> None:
    index = SampleIndex(root)
    assert index.reconcile() == []
    files.write(root / "a.png", PNG)
    assert names(index.reconcile()) == ["a.png"]
    root.rename(tmp_path / "away")
    assert index.reconcile() == []
    assert (index.newest(5), len(index)) == ([], 0)
    (tmp_path / "away").rename(root)
    assert index.reconcile() == []
    assert names(index.newest(5)) == ["a.png"]


def test_links_hidden_entries_and_other_files_are_left_out(root: Path, tmp_path: Path) -> None:
    outside = files.write(tmp_path / "outside/secret.png", PNG)
    root.mkdir()
    (root / "link.png").symlink_to(outside)
    (root / "linked").symlink_to(outside.parent)
    files.write(root / ".hidden.png", PNG)
    files.write(root / ".hidden/a.png", PNG)
    files.write(root / "notes.txt", b"x" * 50)
    (root / "folder.png").mkdir()
    os.mkfifo(root / "pipe.png")
    index = SampleIndex(root)
    assert index.reconcile() == []
    assert list_folder(root, 10) == []


def test_the_samples_folder_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    files.write(tmp_path / "big-disk/a.png", PNG)
    root.symlink_to(tmp_path / "big-disk")
    assert names(SampleIndex(root).reconcile()) == ["a.png"]


def test_folders_deeper_than_eight_are_not_entered(root: Path) -> None:
    files.write(root / "/".join("12345678") / "a.png", PNG)
    files.write(root / "/".join("123456789") / "b.png", PNG)
    assert names(SampleIndex(root).reconcile()) == ["a.png"]
    assert names(list_folder(root, 10)) == ["a.png"]


def test_a_name_that_is_not_utf8_is_indexed(root: Path) -> None:
    files.write(root / os.fsdecode(b"\xff.png"), PNG)
    assert names(SampleIndex(root).reconcile()) == ["\ufffd.png"]


def test_a_new_index_started_from_the_journal_announces_only_what_is_new(root: Path) -> None:
    files.write(root / "0 - a cat/a.png", PNG)
    files.write(root / "b.png", PNG)
    first = SampleIndex(root)
    first.tell(root / "0 - a cat/a.png", {"prompt": "a cat on a mat", "seed": 7})
    records = [info.to_json() for info in first.reconcile()]
    files.write(root / "b.png", files.image("PNG", 40))
    files.write(root / "c.png", PNG)
    second = SampleIndex(root)
    second.preload(SampleInfo.from_json(record) for record in records)
    assert sorted(names(second.reconcile())) == ["b.png", "c.png"]
    (a,) = [info for info in second.newest(10) if info.filename == "a.png"]
    assert (a.prompt, a.seed) == ("a cat on a mat", 7)


def test_preloaded_samples_that_are_gone_are_forgotten(root: Path) -> None:
    files.write(root / "custom/a.png", PNG)
    files.write(root / "b.png", PNG)
    first = SampleIndex(root)
    infos = first.reconcile()
    (root / "custom/a.png").unlink()
    (root / "custom").rmdir()
    second = SampleIndex(root)
    second.preload(infos)
    assert len(second) == 2
    assert second.reconcile() == []
    assert names(second.newest(9)) == ["b.png"]


def test_what_the_trainer_told_is_in_the_announcement_and_in_later_lists(root: Path) -> None:
    path = files.write(root / "0 - a cat/x-training-sample-5-1-2.png", PNG)
    index = SampleIndex(root)
    index.tell(path, {"prompt": "a cat on a mat", "seed": 3, "global_step": 5})
    assert [(info.prompt, info.seed, info.step) for info in index.reconcile()] == [("a cat on a mat", 3, 5)]
    index.tell(path, {"kind": "custom"})
    assert [(info.prompt, info.kind) for info in index.newest(1)] == [("a cat on a mat", "custom")]


def test_an_unreadable_folder_is_logged_once_and_keeps_its_samples(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads every folder")
    files.write(root / "custom/a.png", PNG)
    index = SampleIndex(root)
    index.reconcile()
    (root / "custom").chmod(0)
    try:
        index.reconcile()
        index.reconcile()
    finally:
        (root / "custom").chmod(0o755)
    assert names(index.newest(5)) == ["a.png"]
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


def test_a_samples_folder_beyond_all_bounds_is_cut_and_logged_once(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "_MAX_ENTRIES", 12)
    for number in range(10):
        files.write(root / f"{number}/a.png", PNG)
    index = SampleIndex(root)
    index.reconcile()
    index.reconcile()
    assert len(index) == 3, "ten folders, and the third file goes beyond twelve"
    assert len(caplog.records) == 1


def test_a_listing_is_newest_first_whole_and_limited(root: Path) -> None:
    for number in range(5):
        age(files.write(root / f"custom/{number}.png", PNG), 100 - number)
    files.write(root / "5.png", PNG[:-1])
    assert names(list_folder(root, 3)) == ["4.png", "3.png", "2.png"]
    assert list_folder(root / "missing", 3) == []
    assert list_folder(root, 3)[0].kind == "custom"


def test_lists_may_be_read_while_the_disk_is(root: Path) -> None:
    index = SampleIndex(root)
    done = threading.Event()
    errors: list[BaseException] = []

    def read() -> None:
        try:
            while not done.is_set():
                index.newest(10)
                len(index)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(200):
            files.write(root / f"{number % 20}/{number}.png", PNG)
            index.reconcile()
    finally:
        done.set()
        reader.join()
    assert errors == []
    assert len(index) == 200


def test_many_known_files_are_not_read_again(root: Path) -> None:
    for folder in range(4):
        for number in range(500):
            age(files.write(root / str(folder) / f"{number}.png", PNG), 1000)
    index = SampleIndex(root)
    assert len(index.reconcile()) == 2000
    settle(index)
    started = time.perf_counter()
    assert index.reconcile() == []
    assert time.perf_counter() - started < 0.05
    files.write(root / "2/new.png", PNG)
    assert names(index.reconcile()) == ["new.png"]
