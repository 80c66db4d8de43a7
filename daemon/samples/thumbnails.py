"""Small pictures of samples, made by worker processes, a few at a time, and kept in a folder of bounded size."""

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import UnavailableError, UnsupportedError
from daemon.samples.dimensions import dimensions
from daemon.samples.thumbnail_worker import MOST_PIXELS, OK

SIZES = (64, 128, 192, 256, 384, 512, 768, 1024)
"""A size is rounded up to one of these, so that no client fills the folder with one picture in a thousand sizes."""
WORKERS = 2
MOST_BYTES = 256 << 20
_KEEP_PART = 0.75
_MAKE_S = 20.0


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """*tag* changes with the picture: it is the entity tag."""

    data: bytes
    media: str
    tag: str


class Thumbnails:
    """Ends its threads and workers with `close`."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        # Threads of its own: a page full of pictures must not take those that all else waits for.
        self._threads = ThreadPoolExecutor(WORKERS, "thumbnails")
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._bytes: int | None = None

    async def get(self, picture: int, media: str, size: int, form: str) -> Thumbnail:
        """The thumbnail of the open file *picture* of the type *media*, its longer side at most *size* rounded up; *form* is webp or jpeg.
        Closes *picture*.

        Raises:
            UnsupportedError: it is no picture (code `no_thumbnail`), has too many pixels (`too_many_pixels`), or cannot be decoded
                (`broken_picture`).
            UnavailableError: the worker or the disk fails.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._get, picture, media, size, form)

    def close(self) -> None:
        """Blocks for as long as the thumbnails that are being made take, some seconds at most."""
        self._threads.shutdown(cancel_futures=True)
        idle, self._idle = self._idle, []
        for worker in idle:
            worker.end()

    def _get(self, picture: int, media: str, size: int, form: str) -> Thumbnail:
        try:
            return self._kept_or_made(picture, media, size, form)
        finally:
            os.close(picture)

    def _kept_or_made(self, picture: int, media: str, size: int, form: str) -> Thumbnail:
        if not media.startswith("image/"):
            raise UnsupportedError(f"there are thumbnails of pictures, not of {media}; GET the sample itself", code="no_thumbnail")
        side = next((one for one in SIZES if one >= size), SIZES[-1])
        tag = _tag(picture, side, form)
        kept = self._folder / tag[:2] / f"{tag}.{form}"
        data = _read(kept)
        if data is None:
            data = self._made(picture, side, form, kept)
        return Thumbnail(data, f"image/{form}", tag)

    def _made(self, picture: int, side: int, form: str, kept: Path) -> bytes:
        width, height = dimensions(picture) or (1, 1)
        if width * height > MOST_PIXELS:
            raise UnsupportedError(f"the picture has {width} x {height} pixels, too many for a thumbnail", code="too_many_pixels")
        data = self._make(picture, side, form, kept)
        self._count(len(data))
        return data

    def _make(self, picture: int, side: int, form: str, kept: Path) -> bytes:
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            draft = kept.with_name(f".{kept.name}.{threading.get_ident()}")
            with draft.open("wb") as target:
                problem = self._ask(picture, target.fileno(), side, form)
            if problem is not None:
                draft.unlink()
                raise UnsupportedError(f"no thumbnail can be made of the picture: {problem}", code="broken_picture")
            data = draft.read_bytes()
            draft.rename(kept)
        except OSError as error:
            raise UnavailableError(f"{self._folder}: a thumbnail cannot be made: {error.strerror or error}", code="cannot_write") from error
        return data

    def _ask(self, picture: int, target: int, side: int, form: str) -> str | None:
        """What is wrong with the picture; None when the thumbnail is in *target*. A worker that has ended since is replaced once."""
        with self._worker() as worker:
            answer = worker.ask(picture, target, side, form)
        if answer is None:
            with self._worker() as worker:
                answer = worker.ask(picture, target, side, form)
        if answer is None:
            return "the decoder crashed or took too long"
        return None if answer == OK else answer

    @contextmanager
    def _worker(self) -> Iterator["_Worker"]:
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        worker = worker or _Worker()
        try:
            yield worker
        except BaseException:
            worker.end()
            raise
        with self._lock:
            if worker.is_well:
                self._idle.append(worker)
        if not worker.is_well:
            worker.end()

    def _count(self, new: int) -> None:
        """Keep the folder below its bound: the oldest go first, down to three quarters, so that this is rare."""
        with self._lock:
            if self._bytes is not None:
                self._bytes += new
                if self._bytes <= self._most_bytes:
                    return
            files = sorted(_files(self._folder))
            self._bytes = sum(size for _, size, _ in files)
            if self._bytes <= self._most_bytes:
                return
            for _, size, path in files:
                if self._bytes <= self._most_bytes * _KEEP_PART:
                    break
                path.unlink(missing_ok=True)
                self._bytes -= size


class _Worker:
    """One `thumbnail_worker`, and the socket to it. Raises OSError when it cannot be started."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_MAKE_S)
        self._socket = ours
        self.is_well = True
        with theirs:
            # -P: what lies in the working directory is not imported.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "daemon.samples.thumbnail_worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip

    def ask(self, picture: int, target: int, side: int, form: str) -> str | None:
        """The worker's answer; None when it has ended, or takes too long: it is not well then."""
        try:
            socket.send_fds(self._socket, [json.dumps({"size": side, "format": form}).encode()], [picture, target])
            answer = self._socket.recv(1024)
        except OSError:
            answer = b""
        self.is_well = bool(answer)
        return answer.decode("utf-8", "replace") or None

    def end(self) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait()


def _tag(picture: int, side: int, form: str) -> str:
    """Of this content of this file, as far as its inode, size and time tell."""
    status = os.fstat(picture)
    known = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, side, form)
    return hashlib.sha256(repr(known).encode()).hexdigest()[:32]


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes() or None
    except OSError:
        return None


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    now = time.time()
    for path in folder.glob("*/*"):
        try:
            status = path.stat()
        except OSError:
            continue
        if path.name.startswith("."):
            if now - status.st_mtime > 10 * _MAKE_S:  # of a daemon that died at it
                path.unlink(missing_ok=True)
        else:
            yield status.st_mtime, status.st_size, path
