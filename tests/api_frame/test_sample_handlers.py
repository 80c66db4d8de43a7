"""The handlers of /samples over the real services and a real folder."""

import io
import os
import struct
import time
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from daemon.access.named_tokens import create_token
from daemon.samples.names import sample_id
from tests.api_frame.conftest import Serve, Server
from tests.api_frame.services import Guard, ask, with_services
from tests.samples.files import mp4


def png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


@pytest.fixture
def guard() -> Guard:
    return Guard()


@pytest.fixture
async def server(serve: Serve, tmp_path: Path, guard: Guard) -> Server:
    return await with_services(serve, tmp_path, guard)


async def get_file(server: Server, path: Path | str, method: str = "GET", **headers: str) -> SimpleNamespace:
    identifier = path if isinstance(path, str) else sample_id(path)
    async with server.call(
        method, f"/samples/{identifier}", headers={name.replace("_", "-"): text for name, text in headers.items()}
    ) as response:
        return SimpleNamespace(status=response.status, body=await response.read(), headers=response.headers)


@pytest.fixture
def file(tmp_path: Path, server: Server) -> Path:
    path = tmp_path / 'samples/0 - a digit/2026-training-sample-7-1-3 \u00e4".png'
    path.write_bytes(png())
    return path


async def test_samples_are_listed_newest_first_from_all_runs_or_a_folder(server: Server, file: Path) -> None:
    second = file.with_name("sample_9_2_1.png")
    second.write_bytes(png())
    os.utime(file, (1, 1))
    for path in ("/samples", "/samples?samples_dir=samples"):
        listed = (await ask(server, "GET", path)).json
        assert listed["count"] == 2
        assert [(item["filename"], item["step"]) for item in listed["samples"]] == [(second.name, 9), (file.name, None)]
    assert (await ask(server, "GET", "/samples?limit=1")).json["count"] == 1
    assert (await ask(server, "GET", "/samples?samples_dir=/etc")).status == 403
    assert (await ask(server, "GET", "/samples?samples_dir=none")).json == {"samples": [], "count": 0, "next": None}


async def test_a_sample_is_sent_with_its_type_and_nothing_can_run_in_it(server: Server, file: Path) -> None:
    answer = await get_file(server, file)
    assert (answer.status, answer.body) == (200, png())
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["Content-Disposition"] == (
        "inline; filename=\"2026-training-sample-7-1-3 __.png\"; filename*=UTF-8''2026-training-sample-7-1-3%20%C3%A4%22.png"
    )
    head = await get_file(server, file, "HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(png())))


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        ("bytes=0-9", 206, slice(0, 10)),
        ("bytes=10-", 206, slice(10, None)),
        ("bytes=-5", 206, slice(-5, None)),
        ("bytes=10-99999", 206, slice(10, None)),
        ("bytes=99999-", 416, slice(0, 0)),
        ("bytes=5-2", 416, slice(0, 0)),
        ("bytes=0-1,3-4", 200, slice(None)),
        ("lines=0-1", 200, slice(None)),
        ("bytes=x", 200, slice(None)),
    ],
)
async def test_a_part_of_a_sample_is_sent(server: Server, file: Path, wanted: str, status: int, part: slice) -> None:
    answer = await get_file(server, file, Range=wanted)
    assert (answer.status, answer.body) == (status, png()[part])
    if status == 416:
        assert answer.headers["Content-Range"] == f"bytes */{len(png())}"


async def test_a_sample_that_the_client_has_is_not_sent_again(server: Server, file: Path) -> None:
    first = await get_file(server, file)
    tag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    assert (await get_file(server, file, If_None_Match=tag)).status == 304
    assert (await get_file(server, file, If_Modified_Since=modified)).status == 304
    assert (await get_file(server, file, If_None_Match='"other"')).status == 200
    assert (await get_file(server, file, If_Match='"other"')).status == 412
    assert (await get_file(server, file, Range="bytes=0-1", If_Range=tag)).status == 206
    assert (await get_file(server, file, Range="bytes=0-1", If_Range='"other"')).status == 200
    assert (await get_file(server, file, Range="bytes=0-1", If_Range=f"W/{tag}")).status == 200


async def test_what_is_no_whole_sample_in_the_roots_is_not_served(server: Server, file: Path, tmp_path: Path) -> None:
    (tmp_path / "half.png").write_bytes(png()[:-3])
    (tmp_path / "page.html").write_text("<script>")
    (tmp_path / "page.png").write_text("<html><script>")
    (tmp_path / "link.png").symlink_to("/etc/hostname")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "secret.json").write_text("{}")
    for name in ("half.png", "page.html", "page.png", "folder.png", "pipe.png", "secret.json", "missing.png"):
        assert (await get_file(server, tmp_path / name)).status == 404, name
    for path in (tmp_path / "link.png", Path("/etc/passwd"), Path("/proc/self/environ"), Path("/dev/zero")):
        assert (await get_file(server, path)).status == 403, path
    for identifier in ("x", "..", "%2e%2e%2fetc", "L2V0Yy8uLi8", "A" * 10_000, "\u00e4"):
        assert (await get_file(server, identifier)).status in {400, 404}, identifier


async def test_a_link_inside_the_roots_leads_to_the_sample_itself(server: Server, file: Path, tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(file)
    assert (await get_file(server, tmp_path / "link.png")).status == 200


async def test_a_name_that_is_not_utf8_is_served_too(server: Server, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    path.write_bytes(png())
    assert (await get_file(server, path)).status == 200


async def test_a_list_tells_size_prompt_and_kind_and_goes_on_by_its_cursor(server: Server, file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "samples/1 - a cat"
    folder.mkdir()
    for step in (1, 2, 3):
        path = folder / f"2026-training-sample-{step}-0-{step}.png"
        Image.new("RGB", (30, 20)).save(path)
        os.utime(path, (step, step))
    (folder / "2026-training-sample-4-0-4.mp3").write_bytes(b"ID3" + bytes(100))
    os.utime(folder / "2026-training-sample-4-0-4.mp3", (4, 4))
    first = (await ask(server, "GET", "/samples?prompt_index=1&limit=2")).json
    assert [(one["step"], one["width"], one["height"], one["media_type"]) for one in first["samples"]] == [
        (4, None, None, "audio/mpeg"), (3, 30, 20, "image/png"),
    ]  # fmt: skip
    second = (await ask(server, "GET", f"/samples?prompt_index=1&limit=2&cursor={first['next']}")).json
    assert [one["step"] for one in second["samples"]] == [2, 1]
    assert second["next"] is None
    assert [
        one["step"] for one in (await ask(server, "GET", "/samples?prompt=CAT&step_from=2&step_to=3&kind=default")).json["samples"]
    ] == [3, 2]
    for query in ("cursor=x", "step_from=-1", "kind=other", "prompt_index=a", "limit=0", "cursor=" + "A" * 9000):
        assert (await ask(server, "GET", f"/samples?{query}")).status == 400, query


async def test_a_thumbnail_is_small_and_not_sent_again(server: Server, file: Path, tmp_path: Path) -> None:
    Image.new("RGB", (900, 300), "red").save(tmp_path / "samples/wide.png")
    listed = (await ask(server, "GET", "/samples?samples_dir=samples")).json["samples"]
    url = next(one["thumbnail"] for one in listed if one["filename"] == "wide.png")
    async with server.call("GET", f"{url}?size=128&format=jpeg") as answer:
        assert (answer.status, answer.content_type) == (200, "image/jpeg")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        with Image.open(io.BytesIO(await answer.read())) as image:
            assert image.size == (128, 43)
        tag = answer.headers["ETag"]
    async with server.call("GET", f"{url}?size=128&format=jpeg", headers={"If-None-Match": tag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    (tmp_path / "samples/video.mp4").write_bytes(mp4())
    (tmp_path / "samples/bad.png").write_bytes(png()[:33] + png()[-12:])
    for path, status, code in (
        ("samples/video.mp4", 501, "no_thumbnail"), ("samples/bad.png", 501, "broken_picture"), ("samples/none.png", 404, "no_sample"),
        ("../etc/passwd", 403, "outside_roots"),
    ):  # fmt: skip
        refused = await ask(server, "GET", f"/samples/{sample_id(os.path.normpath(tmp_path / path))}/thumbnail")
        assert (refused.status, refused.json["details"]["code"]) == (status, code), path
    for query in ("size=8", "size=5000", "size=x", "format=png"):
        assert (await ask(server, "GET", f"{url}?{query}")).status == 400


async def test_no_descriptor_stays_open(server: Server, file: Path, tmp_path: Path) -> None:
    (tmp_path / "half.png").write_bytes(png()[:-3])
    for _ in range(3):
        await get_file(server, file)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        await get_file(server, file)
        await get_file(server, file, "HEAD")
        await get_file(server, tmp_path / "half.png")
        await get_file(server, file, Range="bytes=9999-")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2


async def test_a_viewer_sees_the_samples_of_runs_and_no_other_pictures(server: Server, tmp_path: Path) -> None:
    viewer = {"Authorization": f"Bearer {create_token(tmp_path, 'phone', 'viewer', time.time())}"}
    drawn, other = tmp_path / "samples" / "0 - a digit" / "1.png", tmp_path / "holiday.png"
    (tmp_path / "samples" / "link.png").symlink_to(other)
    for path in (drawn, other):
        path.write_bytes(png())
    for path, status in ((drawn, 200), (other, 403), (tmp_path / "samples" / "link.png", 403)):
        for what in ("", "/thumbnail"):
            async with server.session.get(server.url / f"samples/{sample_id(path)}{what}", headers=viewer) as response:
                assert response.status == status, path
    async with server.call("GET", f"/samples/{sample_id(other)}") as response:
        assert response.status == 200
