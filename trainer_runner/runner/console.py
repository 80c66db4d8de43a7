"""The trainer's console on disk: progress bars coalesced, lines capped, the file rotated. Never raises, never blocks the trainer."""

import os
from collections import deque
from pathlib import Path

LINE_BYTES = 16 << 10
TAIL_LINES = 40
_TAIL_LINE_CHARS = 400
_FRAME_EVERY_S = 10.0


class Console:
    """Takes raw bytes, in pieces of any size.

    A carriage return overwrites its line, as on a terminal: of tqdm's thousand frames the log keeps the last one, and one every ten
    seconds so that whoever follows it sees it move.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        """*max_bytes* of the file, then it becomes `<name>.1` and a new one begins."""
        self._path = path
        self._max_bytes = max_bytes
        self._line = bytearray()
        self._clipped = 0
        self._frames = False
        self._frame_at = 0.0
        self._tail: deque[bytes] = deque(maxlen=TAIL_LINES)
        self._fd = self._open()
        self.lost_bytes = 0

    def feed(self, data: bytes, now: float) -> None:
        """*now* is monotonic seconds."""
        out = bytearray()
        for piece in data.splitlines(keepends=True) if b"\r" in data or b"\n" in data else (data,):
            body = piece.rstrip(b"\r\n")
            if body:
                if self._frames:
                    self._reset()
                self._add(body)
            if piece.endswith(b"\n"):
                self._finish(out)
            elif piece.endswith(b"\r"):
                self._frames = True
                if now - self._frame_at >= _FRAME_EVERY_S and self._line:
                    out += self._text() + b"\n"
                    self._frame_at = now
        if out:
            self._write(bytes(out))

    def tail(self) -> "list[str]":
        """The last lines, each cut to 400 characters, the unfinished one included."""
        lines = [*self._tail, *([self._text()] if self._line else [])][-TAIL_LINES:]
        return [line.decode("utf-8", "replace").replace("\0", "\ufffd")[:_TAIL_LINE_CHARS] for line in lines]

    def close(self) -> None:
        """Write the unfinished line."""
        out = bytearray()
        if self._line:
            self._finish(out)
        self._write(bytes(out))
        if self._fd >= 0:
            os.close(self._fd)

    def _add(self, body: bytes) -> None:
        room = LINE_BYTES - len(self._line)
        self._line += body[:room]
        self._clipped += max(0, len(body) - room)

    def _text(self) -> bytes:
        return bytes(self._line) + (b" [%d bytes cut]" % self._clipped if self._clipped else b"")

    def _finish(self, out: bytearray) -> None:
        text = self._text()
        self._tail.append(text)
        out += text + b"\n"
        self._reset()

    def _reset(self) -> None:
        self._line.clear()
        self._clipped = 0
        self._frames = False

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError:
            return -1

    def _write(self, data: bytes) -> None:
        try:
            if self._fd < 0:
                self._fd = self._open()
            if os.fstat(self._fd).st_size + len(data) > self._max_bytes:
                self._path.replace(self._path.with_name(self._path.name + ".1"))
                os.close(self._fd)
                self._fd = self._open()
            self.lost_bytes += len(data) - os.write(self._fd, data)
        except OSError:
            self.lost_bytes += len(data)
