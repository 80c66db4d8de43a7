import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.files import tar
from daemon.files.models import is_whole_model


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def safetensors(size: int = 100) -> bytes:
    header = json.dumps({"__metadata__": {"a": "b"}, "w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"x" * size


def test_a_safetensors_file_is_whole_when_its_last_tensor_is_there(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    whole = safetensors()
    model.write_bytes(whole)
    assert is_whole_model(model) is True
    for torn in (*(whole[:end] for end in (0, 7, 8, 40, len(whole) - 1)), whole + b"x", b"\xff" * 16, b"\2" + b"\0" * 7 + b"[]"):
        model.write_bytes(torn)
        assert is_whole_model(model) is False, torn
    model.unlink()
    os.mkfifo(model)
    assert is_whole_model(model) is False


def test_a_folder_is_whole_when_its_parts_are_and_other_formats_do_not_tell(tmp_path: Path) -> None:
    assert is_whole_model(tmp_path) is None
    (tmp_path / "model.ckpt").write_bytes(b"anything")
    assert is_whole_model(tmp_path / "model.ckpt") is None
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "w.safetensors").write_bytes(safetensors())
    assert is_whole_model(tmp_path) is True
    (tmp_path / "unet" / "z.safetensors").write_bytes(safetensors()[:-1])
    assert is_whole_model(tmp_path) is False


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "a folder"
    (place / "unet" / ("long" * 40) / ("name" * 40)).mkdir(parents=True)
    (place / "meta.json").write_text("{}")
    (place / "empty").touch()
    (place / "unet" / ("long" * 40) / ("name" * 40) / "größe.bin").write_bytes(os.urandom(2_000_001))
    (place / "link").symlink_to("/etc/passwd")
    (place / "linked").symlink_to("/etc")
    os.mkfifo(place / "pipe")
    return place


@pytest.fixture
def opened(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_an_archive_has_the_told_length_and_every_regular_file(folder: Path, opened: int) -> None:
    archive = tar.members(opened, "backup-1")
    data = b"".join(tar.stream(opened, archive))
    assert len(data) == tar.length_of(archive)
    with tarfile.open(fileobj=io.BytesIO(data)) as read:
        found = {member.name: read.extractfile(member).read() for member in read}  # type: ignore[union-attr]  # all are files
    there = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert found == {f"backup-1/{path.relative_to(folder)}": path.read_bytes() for path in there}
    assert len(found) == 3


def test_a_file_that_became_a_link_or_shorter_ends_the_archive_with_an_error(folder: Path, opened: int) -> None:
    archive = tar.members(opened, "b")
    (folder / "meta.json").write_text("")
    with pytest.raises(OSError, match="shorter"):
        list(tar.stream(opened, archive))
    (folder / "meta.json").unlink()
    (folder / "meta.json").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic link"):
        list(tar.stream(opened, archive))
    (folder / "meta.json").unlink()
    (folder / "meta.json").write_text("{}")
    (folder / "unet").rename(folder / "other")
    (folder / "unet").symlink_to(folder / "other")
    with pytest.raises(OSError, match=r"unet|irectory"):
        list(tar.stream(opened, archive))


def test_no_descriptor_stays_open_when_a_reader_leaves(opened: int) -> None:
    archive = tar.members(opened, "b")
    before = _open_files()
    chunks = tar.stream(opened, archive)
    while len(next(chunks)) < 1 << 20:
        pass
    chunks.close()
    assert _open_files() == before
