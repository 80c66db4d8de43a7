"""The exchange over the run socket: which attempt to hold, and whether its runner is at work. One JSON line each way."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from ipc import PROTOCOL_VERSION
from ipc.errors import MalformedError, VersionError

LINE_BYTES = 16384


class StartRequest(NamedTuple):
    """Daemon to run unit: become the runner of *attempt*, from the packed runner *archive*."""

    attempt: Path
    archive: Path

    def encode(self) -> bytes:
        return _line({"attempt": str(self.attempt), "archive": str(self.archive)})

    @classmethod
    def decode(cls, line: bytes) -> "StartRequest":
        """Raises MalformedError or VersionError."""
        value = _object(line)
        attempt, archive = value.get("attempt"), value.get("archive")
        if not isinstance(attempt, str) or not isinstance(archive, str) or "\0" in attempt + archive:
            raise MalformedError("a start request without the paths of attempt and archive")
        return cls(Path(attempt), Path(archive))


class StartAnswer(NamedTuple):
    """Run unit to daemon: the runner is at work (*started*), or why it is not."""

    started: bool
    message: str = ""

    def encode(self) -> bytes:
        return _line({"started": self.started, "message": self.message})

    @classmethod
    def decode(cls, line: bytes) -> "StartAnswer":
        """Raises MalformedError or VersionError."""
        value = _object(line)
        return cls(value.get("started") is True, str(value.get("message") or ""))

    def send(self, fd: int) -> None:
        """Tell whoever listens at *fd*; a listener that has gone needs no answer."""
        try:
            os.write(fd, self.encode())
        except OSError:
            pass


def _line(fields: "dict[str, Any]") -> bytes:
    return json.dumps({"v": PROTOCOL_VERSION, **fields}).encode() + b"\n"


def _object(line: bytes) -> "dict[str, Any]":
    if not line.endswith(b"\n"):
        raise MalformedError("a line of the run socket ended before its newline")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"a line of the run socket is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise MalformedError(f"a line of the run socket is {type(value).__name__}, not an object")
    version = value.get("v")
    if not isinstance(version, int) or not 1 <= version <= PROTOCOL_VERSION:
        raise VersionError("the run socket", version, PROTOCOL_VERSION)
    return value
