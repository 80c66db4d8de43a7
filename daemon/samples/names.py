"""What a sample is called and what its name tells: step, epoch, prompt. Nothing here touches a disk.

OneTrainer's names (modules/trainer/GenericTrainer.py, sample_during_training):
`<i> - <prompt, made safe, 32 characters>[ - no-ema]/<prefix><timestamp>-training-sample-<global_step>-<epoch>-<epoch_step>.<ext>`,
and `custom/` for samples asked for by hand. The seed's form is `sample_<step>_<epoch>_<epoch_step>.<ext>`.

A name on Linux is bytes. Inside the daemon it is Python's str with surrogates for what is not UTF-8; in JSON it is the
display form, with U+FFFD for each of those. The id alone leads back to the file.
"""

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypedDict

from daemon.errors import NotFoundError

Kind = Literal["default", "custom"]

_ONETRAINER_NAME = re.compile(r".*-training-sample-(\d{1,15})-(\d{1,15})-(\d{1,15})", re.ASCII | re.DOTALL)
_SEED_NAME = re.compile(r"sample_(\d{1,15})_(\d{1,15})_(\d{1,15})", re.ASCII)
_PROMPT_FOLDER = re.compile(r"(\d{1,9}) - (.*?)(?: - no-ema)?", re.ASCII | re.DOTALL)
_SURROGATES = re.compile("[\ud800-\udfff]")
_ID = re.compile(r"[A-Za-z0-9_-]{2,5460}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MOMENT_US = 253_402_300_799_999_999  # the end of the year 9999, where datetime ends


class Told(TypedDict, total=False):
    """What is known of a sample beyond its name, under the names of SampleInfo."""

    epoch: int
    step: int
    epoch_step: int
    prompt: str
    seed: int
    kind: Kind
    prompt_index: int


@dataclass(frozen=True, slots=True)
class SampleInfo:
    """A whole sample file, in the words of the API. `path`, `filename` and `prompt` are display forms: see `id`."""

    id: str
    path: str
    filename: str
    timestamp: str
    """When the file was last written: ISO 8601, UTC, microseconds."""
    epoch: int | None
    step: int | None
    """The global step."""
    epoch_step: int | None
    prompt: str | None
    """The trainer's own word, else what the folder's name holds of it (32 characters, made safe)."""
    seed: int | None
    kind: Kind
    size_bytes: int
    prompt_index: int | None = None
    """Which of the config's samples it is, from 0; None for a custom one."""

    def to_told(self) -> Told:
        return read_told(self.to_json())

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _FIELDS}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "SampleInfo":
        """The inverse of `to_json`, for records of a journal. Raises KeyError, TypeError or ValueError on anything else."""
        told = read_told(value)
        size, timestamp = value["size_bytes"], value["timestamp"]
        if not isinstance(size, int) or any(not isinstance(value[name], str) for name in ("id", "path", "filename", "timestamp")):
            raise TypeError(f"no sample: {dict(value)!r}")
        moment_us(timestamp)
        return cls(
            id=value["id"], path=value["path"], filename=value["filename"], timestamp=timestamp, epoch=told.get("epoch"),
            step=told.get("step"), epoch_step=told.get("epoch_step"), prompt=told.get("prompt"), seed=told.get("seed"),
            kind=told.get("kind", "default"), size_bytes=size, prompt_index=told.get("prompt_index"),
        )  # fmt: skip


_FIELDS = tuple(field.name for field in fields(SampleInfo))


def describe(path: Path | str, samples_dir: Path | str, stat: os.stat_result, told: Mapping[str, Any] | None = None) -> SampleInfo:
    """What is to be said of the sample at *path*, an absolute path inside *samples_dir*.

    *told* is the trainer's `sample` event; what it says wins over the name, what is malformed in it counts as unsaid.
    """
    return describe_file(os.fspath(path), os.fspath(samples_dir), stat.st_mtime_ns // 1000, stat.st_size, read_told(told or {}))


def describe_file(path: str, samples_dir: str, mtime_us: int, size: int, told: Told) -> SampleInfo:
    """`describe` with the modification time in microseconds and *told* already read."""
    folder, _, filename = path.rpartition("/")
    known = known_of(folder, filename, samples_dir, told)
    return SampleInfo(
        id=sample_id(path), path=display(path), filename=display(filename), timestamp=_timestamp(mtime_us),
        epoch=known.get("epoch"), step=known.get("step"), epoch_step=known.get("epoch_step"), prompt=known.get("prompt"),
        seed=known.get("seed"), kind=known.get("kind", "default"), size_bytes=size, prompt_index=known.get("prompt_index"),
    )  # fmt: skip


def known_of(folder: str, filename: str, samples_dir: str, told: Told) -> Told:
    """What folder and name tell of a sample, under what the trainer has *told*."""
    below = folder[len(samples_dir.rstrip("/")) + 1 :].partition("/")[0]
    return {**_read_folder(below or folder.rpartition("/")[2]), **_read_name(filename), **told}


def _read_name(filename: str) -> Told:
    stem = filename.rpartition(".")[0]
    match = _ONETRAINER_NAME.fullmatch(stem) or _SEED_NAME.fullmatch(stem)
    if match is None:
        return {}
    return {"step": int(match[1]), "epoch": int(match[2]), "epoch_step": int(match[3])}


@lru_cache(1024)
def _read_folder(name: str) -> Told:
    if name == "custom":
        return {"kind": "custom"}
    match = _PROMPT_FOLDER.fullmatch(name)
    if match is None:
        return {}
    # An empty prompt does not tell: it is an empty one as well as one of which no character was safe.
    return {"prompt_index": int(match[1]), "prompt": display(match[2])} if match[2] else {"prompt_index": int(match[1])}


def read_told(event: Mapping[str, Any]) -> Told:
    """What a `sample` event, or a SampleInfo as JSON, says beyond the file's name."""
    told: Told = {}
    numbers = {"step": event.get("global_step", event.get("step")), **{name: event.get(name) for name in ("epoch", "epoch_step", "seed")}}
    for name, value in numbers.items():
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63:
            told[name] = value  # type: ignore[literal-required]  # the four names above are its keys
    if isinstance(prompt := event.get("prompt"), str):
        told["prompt"] = display(prompt)
    if (kind := event.get("kind")) in {"default", "custom"}:
        told["kind"] = kind
    index = event.get("index", event.get("prompt_index"))
    if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < 10**9 and kind != "custom":
        told["prompt_index"] = index
    return told


def display(text: str) -> str:
    """*text* with U+FFFD for each surrogate: strict JSON and UTF-8 can hold it."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def sample_id(path: Path | str) -> str:
    """The id of the file at the absolute *path*: its bytes, base64url-coded without padding. ValueError when it is relative."""
    raw = os.fsencode(path)
    if not raw.startswith(b"/"):
        raise ValueError(f"a sample's path must be absolute: {path!r}")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def path_of(identifier: str) -> Path:
    """The path whose id *identifier* is; whether a client may read it is for `daemon.paths.Roots` to say.

    Raises:
        NotFoundError: it is the id of no path: not canonical base64url, or not a normal absolute path (`..`, NUL, too long).
    """
    if _ID.fullmatch(identifier):
        try:
            raw = base64.b64decode(identifier + "=" * (-len(identifier) % 4), b"-_", validate=True)
        except ValueError:
            raw = b""
        normal = b"/" + b"/".join(part for part in raw.split(b"/") if part not in {b"", b".", b".."})
        if raw == normal and b"\0" not in raw and len(raw) <= 4095 and all(len(part) <= 255 for part in raw.split(b"/")):
            path = Path(os.fsdecode(raw))
            if sample_id(path) == identifier:  # unused bits of the last character make other spellings of one path
                return path
    raise NotFoundError(f"no sample has the id {identifier[:80]!r}; take ids from GET /samples", code="no_sample", id=identifier[:200])


def _timestamp(mtime_us: int) -> str:
    return (_EPOCH + timedelta(microseconds=min(max(mtime_us, 0), _LAST_MOMENT_US))).isoformat(timespec="microseconds")


def moment_us(timestamp: str) -> int:
    """Microseconds since 1970 of a SampleInfo's timestamp. Raises ValueError when it is none, TypeError without a zone."""
    return (datetime.fromisoformat(timestamp) - _EPOCH) // timedelta(microseconds=1)
