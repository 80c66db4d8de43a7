"""What a sample's name tells, and ids that lead back to any file."""

import base64
import json
import os
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.errors import NotFoundError
from daemon.samples.names import SampleInfo, describe, moment_us, path_of, sample_id

ROOT = Path("/w/samples")
STAT = os.stat_result((0o100644, 1, 1, 1, 0, 0, 77, 0, 0, 0), {"st_mtime_ns": 1_700_000_000_123_456_789, "st_mtime": 0.0})


def info(name: str, told: dict[str, object] | None = None) -> SampleInfo:
    return describe(ROOT / name, ROOT, STAT, told)


def test_onetrainers_own_name_tells_step_epoch_and_prompt() -> None:
    sample = info("0 - a cat - on a mat/lora_2026-08-01_10-00-00-training-sample-123-4-5.jpg")
    assert (sample.step, sample.epoch, sample.epoch_step, sample.prompt, sample.kind) == (123, 4, 5, "a cat - on a mat", "default")
    assert (sample.seed, sample.size_bytes, sample.filename) == (None, 77, "lora_2026-08-01_10-00-00-training-sample-123-4-5.jpg")
    assert sample.timestamp == "2023-11-14T22:13:20.123456+00:00"
    assert moment_us(sample.timestamp) == 1_700_000_000_123_456


def test_the_folder_of_samples_without_ema_names_the_same_prompt() -> None:
    assert info("12 - a cat - no-ema/x-training-sample-1-2-3.png").prompt == "a cat"


def test_a_custom_sample_is_known_by_its_folder() -> None:
    sample = info("custom/2026-08-01_10-00-00-training-sample-7-0-7.jpg")
    assert (sample.kind, sample.step, sample.prompt) == ("custom", 7, None)
    assert describe(ROOT / "custom" / "x.jpg", ROOT / "custom", STAT).kind == "custom"


def test_the_seeds_name_is_step_epoch_epoch_step() -> None:
    sample = info("sample_100_2_30.png")
    assert (sample.step, sample.epoch, sample.epoch_step) == (100, 2, 30)


@pytest.mark.parametrize(
    "name",
    ["a.png", "sample_1_2.png", "0 - /x.png", "x-training-sample-1-2.jpg", f"sample_{'9' * 99}_1_1.png", "sample_\u0661_\u0662_\u0663.png"],
)
def test_unknown_names_tell_nothing(name: str) -> None:
    sample = info(name)
    assert (sample.step, sample.epoch, sample.epoch_step, sample.prompt, sample.kind) == (None, None, None, None, "default")


def test_what_the_trainer_told_wins_over_the_name() -> None:
    told = {"prompt": "a cat, photographed by a dog", "seed": 42, "kind": "custom", "global_step": 9, "epoch": 1, "epoch_step": 3}
    sample = info("0 - a cat/x-training-sample-1-2-3.png", told)
    assert (sample.prompt, sample.seed, sample.kind, sample.step, sample.epoch, sample.epoch_step) == (
        told["prompt"],
        42,
        "custom",
        9,
        1,
        3,
    )


def test_what_the_trainer_told_in_a_wrong_form_counts_as_unsaid() -> None:
    told: dict[str, object] = {"prompt": 3, "seed": True, "kind": "evil", "global_step": "9", "epoch": None, "epoch_step": 1 << 70}
    assert info("0 - a cat/x-training-sample-1-2-3.png", told) == info("0 - a cat/x-training-sample-1-2-3.png")


def test_a_time_beyond_the_calendar_is_cut_to_it() -> None:
    for ns in (-(10**18), 10**21):
        stat = os.stat_result((0o100644, 1, 1, 1, 0, 0, 77, 0, 0, 0), {"st_mtime_ns": ns, "st_mtime": 0.0})
        moment_us(describe(ROOT / "a.png", ROOT, stat).timestamp)


@given(parts=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6), prompt=st.text(st.characters(exclude_categories=[])))
def test_any_name_goes_through_id_and_json(parts: list[bytes], prompt: str) -> None:
    clean = [part.replace(b"\0", b"_").replace(b"/", b"_") for part in parts]
    path = Path(os.fsdecode(b"/" + b"/".join(b"x" + part for part in clean)))
    sample = describe(path, path.parent, STAT, {"prompt": prompt})
    assert path_of(sample.id) == path
    assert SampleInfo.from_json(orjson.loads(orjson.dumps(sample.to_json()))) == sample
    json.dumps(sample.to_json(), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "path", ["relative/a.png", "", "/a/../b.png", "/a/./b.png", "/a//b.png", "//a.png", "/a/", "/a\0b.png", "/" + "a" * 256, "/a" * 2100]
)
def test_ids_of_what_is_no_path_are_refused(path: str) -> None:
    identifier = base64.urlsafe_b64encode(os.fsencode(path)).rstrip(b"=").decode()
    with pytest.raises(NotFoundError):
        path_of(identifier)


@pytest.mark.parametrize(
    "change", [lambda i: i + "=", lambda i: i[:-1] + chr(ord(i[-1]) + 1), lambda i: i + "\n", lambda i: "+" + i[1:], lambda i: i + "é"]
)
def test_an_id_has_one_spelling(change: object) -> None:
    identifier = sample_id(Path("/ab/cd.png"))  # not a multiple of three: the last character has unused bits
    assert callable(change)
    with pytest.raises(NotFoundError):
        path_of(change(identifier))


@given(st.text(max_size=60))
def test_random_ids_are_paths_or_refused(identifier: str) -> None:
    try:
        path = path_of(identifier)
    except NotFoundError:
        return
    assert sample_id(path) == identifier


def test_a_relative_path_has_no_id() -> None:
    with pytest.raises(ValueError, match="absolute"):
        sample_id(Path("a.png"))


@pytest.mark.parametrize("value", [{}, {"id": 1}, {"id": "a", "path": "b", "filename": "c", "timestamp": "never", "size_bytes": 1}])
def test_a_record_that_is_no_sample_is_refused(value: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        SampleInfo.from_json(value)
