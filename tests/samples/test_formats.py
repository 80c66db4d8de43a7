"""A file is whole by its structure, and by nothing less."""

import io
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from daemon.samples.formats import is_whole, look_inside, media_type
from tests.samples import files

WHOLE: dict[str, bytes] = {
    "a.png": files.image("PNG"),
    "a.jpg": files.image("JPEG"),
    "thumbnail.jpeg": files.jpeg_with_thumbnail(),
    "a.webp": files.image("WEBP"),
    "a.gif": files.image("GIF"),
    "a.mp4": files.mp4(),
    "faststart.mp4": files.mp4(index_first=True),
    "a.mov": files.mp4(),
    "a.avi": files.avi(),
    "a.webm": files.webm(),
    "a.wav": files.riff(b"WAVE", b"fmt " + bytes(20)),
}
EXTENSIONS = sorted({Path(name).suffix for name in WHOLE} | {".mp3"})


@pytest.fixture
def whole(tmp_path: Path) -> Callable[[str, bytes], bool]:
    return lambda name, data: is_whole(files.write(tmp_path / name, data))


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_is_whole(whole: Callable[[str, bytes], bool], name: str) -> None:
    assert whole(name, WHOLE[name])


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "a.gif"])
def test_no_proper_prefix_of_a_file_is_whole(tmp_path: Path, name: str) -> None:
    data = WHOLE[name]
    with (tmp_path / name).open("wb", buffering=0) as file:
        for byte in data[:-1]:
            file.write(bytes([byte]))
            assert not is_whole(tmp_path / name), f"{file.tell()} of {len(data)} bytes"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pixels=st.binary(min_size=12, max_size=12), kind=st.sampled_from(["PNG", "JPEG", "WEBP"]), cut=st.floats(0, 1, exclude_max=True))
def test_no_image_is_whole_before_its_last_byte(tmp_path: Path, pixels: bytes, kind: str, cut: float) -> None:
    data = io.BytesIO()
    Image.frombytes("RGB", (2, 2), pixels).resize((40, 40)).save(data, kind)
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(data.getvalue())
    assert is_whole(path)
    path.write_bytes(data.getvalue()[: int(cut * len(data.getvalue()))])
    assert not is_whole(path)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from([b"", *(data[:n] for data in WHOLE.values() for n in (4, 12, 24, 40))]),
    rest=st.binary(max_size=80),
    end=st.sampled_from(EXTENSIONS),
)
def test_random_bytes_never_raise(tmp_path: Path, start: bytes, rest: bytes, end: str) -> None:
    path = tmp_path / f"a{end}"
    path.write_bytes(start + rest)
    assert is_whole(path) in {True, False}
    with path.open("rb") as file:
        assert is_whole(file.fileno()) in {True, False}


def test_a_file_is_not_whole_under_the_extension_of_another_format(whole: Callable[[str, bytes], bool]) -> None:
    assert not whole("a.png", WHOLE["a.jpg"])
    assert not whole("a.mp4", WHOLE["a.avi"])
    assert not whole("a.txt", WHOLE["a.png"])


@pytest.mark.parametrize(
    "data",
    [
        files.box(b"ftyp", b"isom") + struct.pack(">I4s", 0, b"mdat") + bytes(50),  # what a muxer leaves until it closes
        files.box(b"ftyp", b"isom") + struct.pack(">I4sQ", 1, b"mdat", 2**64 - 1),
        files.box(b"ftyp", b"isom") + struct.pack(">I4sQ", 1, b"mdat", 0),
        files.box(b"ftyp", b"isom") + struct.pack(">I4s", 3, b"mdat"),
        files.box(b"ftyp", b"") * 20000,
        files.box(b"ftyp", b"isom") + files.box(b"moov", b"") + files.box(b"moof", b"") + files.box(b"mdat", b"1234"),
    ],
)  # fmt: skip
def test_hostile_and_unfinished_boxes_are_not_whole(whole: Callable[[str, bytes], bool], data: bytes) -> None:
    assert not whole("a.mp4", data)


def test_a_fragmented_video_is_whole_with_its_index_at_the_end(whole: Callable[[str, bytes], bool]) -> None:
    start = files.box(b"ftyp", b"isom") + files.box(b"moov", b"") + files.box(b"moof", b"") + files.box(b"mdat", b"1234")
    assert whole("a.mp4", start + files.box(b"mfra", b"12345678"))


@pytest.mark.parametrize("size", [0, 3, 0xFFFFFFFF])
def test_an_avi_whose_size_is_a_place_holder_is_not_whole(whole: Callable[[str, bytes], bool], size: int) -> None:
    data = files.avi()
    assert not whole("a.avi", data[:4] + struct.pack("<I", size) + data[8:])


def test_an_avi_of_several_parts_is_whole(whole: Callable[[str, bytes], bool]) -> None:
    assert whole("a.avi", files.avi(parts=3))
    assert not whole("a.avi", files.avi(parts=3)[:-1])


def test_a_webm_of_unknown_size_is_still_being_written(whole: Callable[[str, bytes], bool]) -> None:
    assert not whole("a.webm", WHOLE["a.webm"].replace(b"\x67\x01" + (300).to_bytes(7, "big"), b"\x67\x01" + b"\xff" * 7))


def test_a_huge_sparse_file_is_read_in_no_time(tmp_path: Path) -> None:
    path = files.write(tmp_path / "a.mp4", files.box(b"ftyp", b"isom") + struct.pack(">I4sQ", 1, b"mdat", 2**42))
    os.truncate(path, 2**42)
    assert not is_whole(path)


def test_an_mp3_is_whole_when_nothing_was_written_for_two_seconds(tmp_path: Path) -> None:
    path = files.write(tmp_path / "a.mp3", b"\xff\xfb\x90\x00" + bytes(413))
    os.utime(path, (1000, 1000))
    assert not is_whole(path, now=1001.5)
    assert is_whole(path, now=1002.5)


def test_what_is_no_regular_file_is_never_whole(tmp_path: Path) -> None:
    real = files.write(tmp_path / "real.png", WHOLE["a.png"])
    (tmp_path / "link.png").symlink_to(real)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(tmp_path / "socket.png"))
        for name in ("link.png", "pipe.png", "folder.png", "socket.png", "missing.png", "nul\0.png", "\ud800.png"):
            assert not is_whole(tmp_path / name), name
            assert look_inside(os.fspath(tmp_path / name)) is None
    assert not is_whole(10**6)


def test_media_types_come_from_an_allow_list() -> None:
    assert media_type(Path("/a/B.JPG")) == "image/jpeg"
    assert media_type("a.mov") == "video/quicktime"
    for name in ("a.svg", "a.html", "a", ".png", "a.png.safetensors", "png"):
        assert media_type(name) is None
