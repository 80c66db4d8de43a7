import asyncio
import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from daemon.errors import UnsupportedError
from daemon.samples.thumbnails import Thumbnail, Thumbnails
from tests.samples import files


@pytest.fixture
async def thumbnails(tmp_path: Path) -> AsyncIterator[Thumbnails]:
    made = Thumbnails(tmp_path / "thumbnails")
    yield made
    await asyncio.to_thread(made.close)
    assert not _workers()


def _workers() -> list[psutil.Process]:
    living = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]  # another test's, perhaps
    return [child for child in living if "thumbnail_worker" in " ".join(child.cmdline())]


async def get(thumbnails: Thumbnails, path: Path, size: int = 256, form: str = "webp", media: str = "image/png") -> Thumbnail:
    return await thumbnails.get(os.open(path, os.O_RDONLY), media, size, form)


def save(path: Path, size: tuple[int, int], kind: str = "PNG", mode: str = "RGB") -> Path:
    Image.effect_noise(size, 50).convert(mode).save(path, kind)
    return path


@pytest.mark.parametrize("kind_and_mode", ["PNG RGB", "PNG RGBA", "PNG P", "PNG I;16", "JPEG CMYK", "JPEG L", "GIF P", "WEBP RGBA"])
@pytest.mark.parametrize("form", ["webp", "jpeg"])
async def test_a_picture_of_every_kind_becomes_small_and_keeps_its_shape(
    thumbnails: Thumbnails, tmp_path: Path, kind_and_mode: str, form: str
) -> None:
    path, (kind, mode) = tmp_path / "picture", kind_and_mode.split()
    Image.effect_noise((800, 400), 50).convert("L" if mode == "I;16" else mode).save(path, kind)
    thumbnail = await get(thumbnails, path, 200, form)
    with Image.open(io.BytesIO(thumbnail.data)) as image:
        assert (image.format, image.size) == (form.upper(), (256, 128)), "a size is rounded up to one of a few"
    assert thumbnail.media == f"image/{form}"


async def test_a_small_picture_is_not_made_larger_and_an_orientation_is_applied(thumbnails: Thumbnails, tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (40, 20), "red").save(tmp_path / "a.jpg", exif=turned)
    with Image.open(io.BytesIO((await get(thumbnails, tmp_path / "a.jpg", media="image/jpeg")).data)) as image:
        assert image.size == (20, 40)


async def test_a_thumbnail_is_made_once_and_anew_when_the_picture_changes(thumbnails: Thumbnails, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", (300, 300))
    first = await get(thumbnails, path)
    [worker] = _workers()
    worker.kill()
    worker.wait()
    assert await get(thumbnails, path) == first, "it is kept: nobody is asked"
    save(path, (300, 200))
    second = await get(thumbnails, path)
    assert second.tag != first.tag
    assert second.data != first.data, "the worker that was killed is replaced"


async def test_many_at_once_are_made_by_two_workers(thumbnails: Thumbnails, tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{number}.png", (200 + number, 100)) for number in range(12)]
    found = await asyncio.gather(*(get(thumbnails, path) for path in [*paths, *paths]))
    assert len({one.tag for one in found}) == 12
    assert all(found[number].data == found[number + 12].data for number in range(12))
    assert 1 <= len(_workers()) <= 2


def _bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1 << 16))) + chunk(b"IEND", b"")


async def test_bombs_and_broken_pictures_are_refused_and_leave_nothing_behind(thumbnails: Thumbnails, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cases = [
        (_bomb(50_000, 50_000), "too_many_pixels"), (_bomb(6000, 6000), "broken_picture"),
        (files.image("PNG")[:-20] + bytes(20), "broken_picture"),
        (b"GIF89a" + b"\xff" * 100, "too_many_pixels"), (b"<svg onload='x'/>", "broken_picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "broken_picture"),
        (files.image("JPEG")[:100], "broken_picture"),
    ]  # fmt: skip
    for data, code in cases:
        path.write_bytes(data)
        with pytest.raises(UnsupportedError) as caught:
            await get(thumbnails, path)
        assert caught.value.code == code, data[:30]
    with pytest.raises(UnsupportedError) as caught:
        await get(thumbnails, path, media="video/mp4")
    assert caught.value.code == "no_thumbnail"
    assert [file for file in (tmp_path / "thumbnails").rglob("*") if file.is_file()] == []
    assert (await get(thumbnails, save(path, (30, 30)))).data


async def test_the_folder_stays_below_its_bound(tmp_path: Path) -> None:
    thumbnails = Thumbnails(tmp_path / "thumbnails", most_bytes=8_000)
    try:
        for number in range(15):
            await get(thumbnails, save(tmp_path / "a.png", (256, 250 - number)), 64)
            assert sum(file.stat().st_size for file in (tmp_path / "thumbnails").rglob("*.webp")) <= 8_000
        assert 1 <= len(list((tmp_path / "thumbnails").rglob("*.webp"))) < 15
    finally:
        await asyncio.to_thread(thumbnails.close)


async def test_no_descriptor_stays_open(thumbnails: Thumbnails, tmp_path: Path) -> None:
    await get(thumbnails, save(tmp_path / "a.png", (30, 30)))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(10):
        await get(thumbnails, save(tmp_path / "a.png", (30, 31 + number)))
        with pytest.raises(UnsupportedError):
            await get(thumbnails, tmp_path / "a.png", media="audio/wav")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_the_daemon_does_not_import_pillow() -> None:
    code = "import sys, daemon.app; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
