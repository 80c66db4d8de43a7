"""A place to attack: a root with everything in it that may lead out, and a folder beside it that nobody may see or change."""

import contextlib
import json
import os
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CANARY = "canary-5f0c1e2d9b"
"""Stands in every file outside. Whatever answer holds it has got out."""
UNLISTED = "unlisted-7a31c4"
"""In the name of a file outside, and in no request: an answer that has it has looked into the folder."""


@dataclass
class Ground:
    """*inside* is a root, and *outside* is not; links in the one lead to the other."""

    folder: Path
    inside: Path = field(init=False)
    outside: Path = field(init=False)

    def __post_init__(self) -> None:
        self.inside, self.outside = self.folder / "inside", self.folder / "outside"
        for place, word in ((self.inside, "harmless"), (self.outside, CANARY)):
            (place / "sub").mkdir(parents=True)
            (place / "swap").mkdir()
            for where in (place, place / "sub", place / "swap"):
                (where / "canary.json").write_text(json.dumps({"__description": word, "word": word}))
                (where / "canary.png").write_bytes(picture(word))
                (where / "canary").write_text(word)
        (self.outside / f"{UNLISTED}.json").write_text(json.dumps({"word": CANARY}))
        (self.outside / f"{UNLISTED}.png").write_bytes(picture(CANARY))
        self._lay_traps()

    def _lay_traps(self) -> None:
        inside, outside = self.inside, self.outside
        for name, target in {
            "link": outside, "link.json": outside / "canary.json", "link.png": outside / "canary.png", "up": Path(".."),
            "loop": Path("loop"), "ping": Path("pong"), "pong": Path("ping"), "root": Path("/"), "proc": Path("/proc/self"),
            "null.json": Path("/dev/null"), "zero.png": Path("/dev/zero"), "deep": outside / "sub", "dangling": outside / "none",
            "flip": inside / "sub",
        }.items():  # fmt: skip
            (inside / name).symlink_to(target)
        for name in ("pipe", "pipe.json", "pipe.png"):
            os.mkfifo(inside / name)
        with socket.socket(socket.AF_UNIX) as one, contextlib.chdir(inside):
            one.bind("socket")

    @contextlib.contextmanager
    def flipping(self) -> Iterator[None]:
        """While the context lasts, and as fast as a thread can: the link `flip` leads now to the harmless folder, now outside; and `swap`
        is now a harmless folder itself, now a link to the one outside, so that a path that was resolved leads out the next moment."""
        done = threading.Event()

        def flip() -> None:
            targets = [self.inside / "sub", self.outside]
            while not done.is_set():
                fresh = self.inside / ".fresh"
                fresh.symlink_to(targets[0])
                fresh.rename(self.inside / "flip")
                targets.reverse()
                (self.inside / "swap").rename(self.inside / ".away")
                (self.inside / "swap").symlink_to(self.outside)
                (self.inside / "swap").unlink()
                (self.inside / ".away").rename(self.inside / "swap")

        thread = threading.Thread(target=flip)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def picture_of_outside(self) -> dict[str, tuple[int, bytes]]:
        """Every file there, with when it was changed and what is in it."""
        return {str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in self.outside.rglob("*")} | {
            str(path): (0, b"") for path in self.folder.iterdir()
        }


def picture(word: str) -> bytes:
    """A whole PNG with *word* in its text."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"tEXt", b"Title\0" + word.encode())
        + chunk(b"IDAT", zlib.compress(b"\0\0"))
        + (chunk(b"IEND", b""))
    )
