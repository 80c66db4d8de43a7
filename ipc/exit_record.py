"""How an attempt ended: the record that outlives runner and trainer."""

import os
from pathlib import Path
from typing import Any, NamedTuple

from ipc import PROTOCOL_VERSION
from ipc.atomic import read_versioned, sync_folder, write_all
from ipc.messages import encode

RESERVED_BYTES = 64 << 10

COMPLETED, STOPPED, RELEASED, NOTHING_DONE = "completed", "stopped", "released", "nothing_done"
FAILURES = frozenset({
    "cuda_oom", "host_oom", "nan_loss", "disk_full", "config_error", "missing_file",
    "exception", "crash", "killed", "start_failed", "unknown",
})  # fmt: skip
CAUSES = FAILURES | {COMPLETED, STOPPED, RELEASED, NOTHING_DONE}


class ExitRecord(NamedTuple):
    """One attempt's end. *cause* is one of `CAUSES`, *message* a sentence for people, *evidence* what the cause was read from."""

    cause: str
    message: str
    evidence: "dict[str, Any]"
    code: "int | None"
    signal: "str | None"
    outcome: "str | None"
    global_step: int
    last_backup: "str | None"
    model_path: "str | None"
    error: "dict[str, Any] | None"
    console_tail: "list[str]"
    started: float
    ended: float

    def to_json(self) -> "dict[str, Any]":
        return {"v": PROTOCOL_VERSION, **self._asdict()}

    @classmethod
    def from_json(cls, value: "dict[str, Any]") -> "ExitRecord":
        """Unknown fields are ignored, missing ones are None. Raises KeyError without a cause."""
        known = {name: value.get(name) for name in cls._fields}
        known["cause"] = value["cause"] if value["cause"] in CAUSES else "unknown"
        return cls(**known)  # type: ignore[arg-type]  # our own file; its reader treats fields as data to show


def read_exit(path: Path) -> "ExitRecord | None":
    """The exit record at *path*, or None when there is none yet.

    Raises:
        MalformedError, VersionError: it is there and cannot be read.
    """
    try:
        return ExitRecord.from_json(read_versioned(path, PROTOCOL_VERSION))
    except FileNotFoundError:
        return None


class ExitSlot:
    """Room for the exit record, taken while there is still room: a full disk must not silence the end."""

    def __init__(self, path: Path) -> None:
        """Reserve `RESERVED_BYTES` beside *path*; where the file system cannot, go on without."""
        self._path = path
        self._draft = path.with_name(f".{path.name}.reserved")
        self._fd = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.posix_fallocate(self._fd, 0, RESERVED_BYTES)
        except OSError:
            pass  # EOPNOTSUPP on some network file systems, ENOSPC: the write below may still succeed

    def write(self, record: ExitRecord) -> None:
        """Put *record* in its place: whole, synced, then renamed. Raises OSError."""
        data = encode(record.to_json())
        if len(data) > RESERVED_BYTES:
            data = encode(record._replace(console_tail=record.console_tail[-5:], error=None).to_json())
        write_all(self._fd, data)
        os.ftruncate(self._fd, len(data))
        os.fsync(self._fd)
        os.close(self._fd)
        self._draft.rename(self._path)
        sync_folder(self._path.parent)
