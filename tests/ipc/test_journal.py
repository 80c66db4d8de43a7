"""Journals: numbering, torn tails, damage, segments, full disks."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc.errors import JournalError
from ipc.journal import Gap, JournalReader, JournalWriter

SEGMENT = "000000000001.jsonl"


def write(folder: Path, count: int, **options: Any) -> JournalWriter:
    journal = JournalWriter(folder, **options)
    for number in range(count):
        journal.append({"type": "step", "number": number})
    return journal


def numbers(folder: Path, after: int = 0) -> list[int]:
    reader = JournalReader(folder, after)
    found: list[int] = []
    while records := reader.read():
        found += [record["seq"] for record in records]
    reader.close()
    return found


def test_records_are_numbered_from_one_without_gap_over_segments(tmp_path: Path) -> None:
    write(tmp_path, 200, segment_bytes=1000).close()
    assert len(list(tmp_path.iterdir())) > 5
    assert numbers(tmp_path) == list(range(1, 201))
    assert numbers(tmp_path, after=150) == list(range(151, 201))


def test_a_writer_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    for _ in range(3):
        write(tmp_path, 10, segment_bytes=300).close()
    assert numbers(tmp_path) == list(range(1, 31))


def test_a_journal_cut_at_every_byte_of_its_last_record_is_an_exact_prefix(tmp_path: Path) -> None:
    write(tmp_path / "whole", 3).close()
    data = (tmp_path / "whole" / SEGMENT).read_bytes()
    second_end = data.rindex(b"\n", 0, -1) + 1
    for cut in range(second_end, len(data)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / SEGMENT).write_bytes(data[:cut])
        assert numbers(folder) == [1, 2]
        write(folder, 1).close()
        assert numbers(folder) == [1, 2, 3]


def test_a_reader_waits_for_the_rest_of_a_line(tmp_path: Path) -> None:
    journal = write(tmp_path, 1)
    reader = JournalReader(tmp_path)
    assert len(reader.read()) == 1
    with (tmp_path / SEGMENT).open("ab") as file:
        file.write(b'{"v":1,"seq":2,')
        file.flush()
        assert reader.read() == []
        file.write(b'"type":"x"}\n')
    assert [record["type"] for record in reader.read()] == ["x"]
    reader.close()
    journal.close()


def test_a_flipped_byte_costs_one_record_and_is_counted(tmp_path: Path) -> None:
    write(tmp_path, 5).close()
    lines = (tmp_path / SEGMENT).read_bytes().splitlines(keepends=True)
    lines[2] = b"X" + lines[2][1:]
    (tmp_path / SEGMENT).write_bytes(b"".join(lines))
    reader = JournalReader(tmp_path)
    assert [record["seq"] for record in reader.read()] == [1, 2, 4, 5]
    assert (reader.bad_lines, reader.gaps) == (1, [Gap(3, 3)])
    reader.close()


def test_a_missing_segment_is_told_as_a_gap_and_read_over(tmp_path: Path) -> None:
    write(tmp_path, 100, segment_bytes=1000).close()
    segments = sorted(tmp_path.iterdir())
    first, after = int(segments[2].name[:12]), int(segments[3].name[:12])
    segments[2].unlink()
    reader = JournalReader(tmp_path)
    found: list[int] = []
    while records := reader.read():
        found += [record["seq"] for record in records]
    assert found == [*range(1, first), *range(after, 101)]
    assert reader.gaps == [Gap(first, after - 1)]
    reader.close()


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / SEGMENT).write_bytes(b"hello\nworld\n")
    with pytest.raises(JournalError, match="move it away"):
        JournalWriter(tmp_path)


def test_a_full_disk_leaves_no_torn_line_and_the_record_may_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = write(tmp_path, 2)
    real = os.write

    def short(fd: int, data: bytes) -> int:
        return real(fd, data[:7])

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="no room") as failure:
        journal.append({"type": "x"})
    monkeypatch.undo()
    assert failure.value.errno == errno.ENOSPC
    assert journal.append({"type": "x"})["seq"] == 3
    assert numbers(tmp_path) == [1, 2, 3]
    journal.close()


def test_a_reader_goes_on_from_the_position_of_another(tmp_path: Path) -> None:
    write(tmp_path, 100, segment_bytes=700).close()
    first = JournalReader(tmp_path)
    first.read(200)
    second = JournalReader(tmp_path, first.seq, hint=first.position)
    assert second.read()[0]["seq"] == first.seq + 1
    for reader in (first, second):
        reader.close()


@given(
    st.lists(
        st.dictionaries(st.text().filter(lambda key: key not in ("v", "seq", "ts")), st.text() | st.integers() | st.none()), max_size=20
    )
)
def test_whatever_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]]) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = JournalWriter(folder, segment_bytes=200)
    for record in records:
        journal.append(record)
    journal.close()
    reader = JournalReader(folder)
    found: list[dict[str, Any]] = []
    while read := reader.read():
        found += read
    reader.close()
    assert [{key: value for key, value in record.items() if key not in ("v", "seq", "ts")} for record in found] == records


def test_a_reader_that_has_met_a_torn_line_reads_what_is_written_in_its_place(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    writer.append({"type": "one"})
    with (tmp_path / "000000000001.jsonl").open("ab") as file:
        file.write(b'{"v":1,"seq":2,"type":"torn by a')
    reader = JournalReader(tmp_path)
    assert [record["type"] for record in reader.read()] == ["one"]
    assert reader.read() == []
    writer.close()
    writer = JournalWriter(tmp_path)  # cuts the torn line off
    writer.append({"type": "two"})
    assert [record["type"] for record in reader.read()] == ["two"]
    assert reader.bad_lines == 0
    reader.close()
    writer.close()


def test_a_line_longer_than_a_portion_is_read_whole(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    for text in ("a" * 5000, "b", "c" * 9000):
        writer.append({"text": text})
    reader = JournalReader(tmp_path)
    found = []
    while records := reader.read(max_bytes=1000):
        found += [len(record["text"]) for record in records]
    assert found == [5000, 1, 9000]
    reader.close()
    writer.close()


def test_a_flipped_digit_of_a_number_costs_one_record_and_hides_no_other(tmp_path: Path) -> None:
    write(tmp_path / "whole", 30).close()
    data = (tmp_path / "whole" / SEGMENT).read_bytes()
    for wrong in (b'"seq":92', b'"seq":02', b'"seq":2 ', b'"seq":11'):
        (tmp_path / SEGMENT).write_bytes(data.replace(b'"seq":12', wrong))
        reader = JournalReader(tmp_path)
        assert [record["seq"] for record in reader.read()] == [*range(1, 12), *range(13, 31)]
        assert (reader.bad_lines, reader.gaps) == (1, [Gap(12, 12)])
        reader.close()
