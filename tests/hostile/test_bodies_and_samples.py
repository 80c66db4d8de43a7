"""Bodies that want to be too much, and files that say that they are pictures, sent to and served by a real daemon."""

import asyncio
import gzip
import io
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.samples.names import sample_id
from tests.e2e.daemon import Daemon
from tests.hostile.ground import picture
from tests.hostile.standin_daemon import standin_daemon

LARGE = 50 << 20
NOT_PICTURES = {
    "a.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "b.html": b"<html><script>alert(1)</script></html>",
    "c.png": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "d.jpg": b"<html><script>alert(1)</script></html>" * 9,
    "e.png": b"\xff\xd8\xff" + b"x" * 99 + b"\xff\xd9", "f.gif": picture("a PNG"), "g.webp": b"RIFF\x04\x00\x00\x00HTML",
    "h.mp4": b"%PDF-1.7" * 9, "i.xml": b"<?xml version='1.0'?><x/>", "j.js": b"alert(1)", "k.png.html": picture("x"),
}  # fmt: skip


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with standin_daemon(tmp_path) as started:
        yield started


async def send(daemon: Daemon, data: bytes, **headers: str) -> tuple[int, str]:
    given = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    is_large = len(data) > 1 << 20  # asks first, since the daemon answers and closes without having read it
    async with daemon.client.post("/config/validate", data=io.BytesIO(data), headers=given, expect100=is_large) as answer:
        return answer.status, (await answer.json())["details"].get("code", "") if answer.status >= 400 else ""


async def test_a_body_that_is_too_much_is_refused_and_the_daemon_does_not_grow(daemon: Daemon) -> None:
    before = resident_kib(daemon)
    bomb = gzip.compress(b'{"config": {"x": "' + bytes(64 << 20) + b'"}}')
    deep = b'{"config": ' + b'{"a": ' * 100_000 + b"1" + b"}" * 100_001
    wide = b'{"config": {"a": [' + b"[]," * 300_000 + b"[]]}}"
    twins = b'{"config": {"epochs": 1, "epochs": 2}}'
    for what, data, headers, expected in (
        ("50 MB", b'{"config": {"x": "' + b"a" * LARGE + b'"}}', {}, 413), ("a gzip bomb", bomb, {"Content_Encoding": "gzip"}, 413),
        ("a deflate bomb", zlib.compress(bytes(64 << 20)), {"Content_Encoding": "deflate"}, 413),
        ("deep nesting", deep, {}, 400), ("many arrays", wide, {}, 400), ("a key twice", twins, {}, 400),
        ("NaN", b'{"config": {"x": NaN}}', {}, 400), ("a huge number", b'{"config": {"x": 1e999}}', {}, 400),
        ("a huge integer", b'{"config": {"x": ' + b"9" * 5000 + b"}}", {}, 400),
        ("half a character", b'{"config": {"x": "\\ud800"}}', {}, 400),
    ):  # fmt: skip
        status, code = await send(daemon, data, **headers)
        assert status == expected, (what, status, code)
    assert resident_kib(daemon) - before < 150 << 10
    assert (await daemon.get("/health"))["status"] == "healthy"


async def test_many_slow_bodies_keep_nobody_waiting(daemon: Daemon) -> None:
    """Each is given 30 s (body.READ_S, tested beside it); meanwhile the others are served."""
    token = (daemon.state_dir / "token").read_text().strip()
    port = int(daemon.url.rsplit(":", 1)[1])
    head = f"POST /runs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    writers = []
    for _ in range(100):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
        writers.append(writer)
    async with asyncio.timeout(30):
        assert (await daemon.get("/runs"))["count"] == 0
    for writer in writers:
        writer.close()


async def test_what_only_says_that_it_is_a_picture_is_neither_listed_nor_served(daemon: Daemon, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, data in NOT_PICTURES.items():
        (folder / name).write_bytes(data)
    (folder / "real.png").write_bytes(picture("real"))
    listed = await daemon.get(f"/samples?samples_dir={folder}")
    assert [sample["filename"] for sample in listed["samples"]] == ["real.png"]
    for name in NOT_PICTURES:
        problem = await daemon.get(f"/samples/{sample_id(folder / name)}", status=404)
        assert problem["details"]["code"] == "no_sample", name
    async with daemon.client.get(f"/samples/{sample_id(folder / 'real.png')}") as answer:
        assert (answer.status, answer.content_type, answer.headers["X-Content-Type-Options"]) == (200, "image/png", "nosniff")
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert await answer.read() == picture("real")


def resident_kib(daemon: Daemon) -> int:
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
