"""Reading backwards: lines, tails, and files that are not what their names say."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from daemon.files import reading
from daemon.files.reading import lines_backwards, open_regular, read_object, tail_start
from daemon.files.records import newest_records

texts = st.lists(st.sampled_from([b"a", b"\n", b"bb", b"x" * 50, b"\n\n", b'"kind"'])).map(b"".join)


def opened(folder: Path, data: bytes) -> int:
    path = folder / "file"
    path.write_bytes(data)
    fd = open_regular(path)
    assert fd is not None
    return fd


@given(data=texts, lines=st.integers(1, 30), block=st.integers(1, 20))
def test_the_tail_begins_where_its_lines_do_whatever_the_size_of_blocks(data: bytes, lines: int, block: int) -> None:
    fd = os.memfd_create("tail")
    os.write(fd, data)
    before, reading.BLOCK_BYTES = reading.BLOCK_BYTES, block
    try:
        start, found = tail_start(fd, len(data), lines)
    finally:
        reading.BLOCK_BYTES = before
        os.close(fd)
    whole = data.removesuffix(b"\n").split(b"\n") if data else []
    assert found == min(lines, len(whole))
    assert data[start:].removesuffix(b"\n").split(b"\n") == whole[-lines:] or not data


@given(data=texts, block=st.integers(1, 20))
def test_lines_come_backwards_each_once_and_none_that_is_torn(data: bytes, block: int) -> None:
    fd = os.memfd_create("lines")
    os.write(fd, data)
    before, reading.BLOCK_BYTES = reading.BLOCK_BYTES, block
    try:
        found = list(lines_backwards(fd, len(data), b"b"))
    finally:
        reading.BLOCK_BYTES = before
        os.close(fd)
    assert found == [line for line in reversed(data.split(b"\n")[:-1]) if b"b" in line]


def test_pipes_links_folders_and_nothing_are_no_regular_files(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("{}")
    (tmp_path / "link").symlink_to("real")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "nothing", "."):
        assert open_regular(tmp_path / name) is None
        assert read_object(tmp_path / name, 100) is None
    assert read_object(tmp_path / "real", 100) == {}
    assert read_object(tmp_path / "real", 1) is None


def test_records_are_found_newest_first_over_segments_and_bad_lines(tmp_path: Path) -> None:
    (tmp_path / "000000000001.jsonl").write_bytes(b'{"type":"kind","n":1}\n{"type":"other","of":"kind"}\n{"type": "kind", "n":2}\n')
    (tmp_path / "000000000004.jsonl").write_bytes(b'{"type":"kind","n":3}\n{"type":"kind"\n[ "kind" ]\n{"type":"kind","n":4}')
    os.mkfifo(tmp_path / "000000000009.jsonl")
    assert [record["n"] for record in newest_records(tmp_path, "kind")] == [3, 2, 1]
    assert list(newest_records(tmp_path / "none", "kind")) == []
