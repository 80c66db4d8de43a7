import io
import os
from pathlib import Path

import pytest
from PIL import Image

from daemon.samples.dimensions import dimensions
from tests.samples import files


def picture(kind: str, **options: object) -> bytes:
    data = io.BytesIO()
    Image.new("RGBA" if options.pop("alpha", False) else "RGB", (321, 123), "red").save(data, kind, **options)
    return data.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        picture("PNG"), picture("JPEG"), picture("JPEG", progressive=True), picture("GIF"), picture("WEBP"), picture("WEBP", lossless=True),
        picture("WEBP", alpha=True), picture("JPEG", comment=b"x" * 60_000),
    ],
)  # fmt: skip
def test_the_header_of_a_picture_tells_its_size(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "picture"
    path.write_bytes(data)
    assert dimensions(str(path)) == (321, 123)
    with path.open("rb") as file:
        assert dimensions(file.fileno()) == (321, 123)


def test_the_size_of_a_jpeg_is_not_that_of_the_thumbnail_inside_it(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(files.jpeg_with_thumbnail())
    assert dimensions(str(tmp_path / "a.jpg")) == (24, 24)


def test_what_is_no_picture_has_no_size_and_nothing_raises(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"\xff\xd8" + b"\xff" * 50,
        b"RIFF\0\0\0\0WEBPVP8 ",
        files.mp4(),
        files.webm(),
    ):
        path.write_bytes(data)
        assert dimensions(str(path)) is None, data[:20]
    for whole in (picture("PNG"), picture("JPEG"), picture("WEBP"), picture("GIF")):
        for end in range(40):
            path.write_bytes(whole[:end])
            assert dimensions(str(path)) in {None, (321, 123)}
    path.unlink()
    os.mkfifo(path)
    assert dimensions(str(path)) is None
    assert dimensions(str(tmp_path / "missing")) is None
