"""Writes samples the way trainers, copiers and network drives do, fast. `sample_writer.py FOLDER COUNT SEED`; prints what is whole.

The last line of output: {"whole": [paths], "torn": [paths]}, paths as base64url of their bytes.
"""

import base64
import json
import os
import random
import struct
import sys
import time
import zlib
from pathlib import Path

ODD_NAMES = (
    b"a b.png", b"-rf.png", b"100%.png", b"semi;colon&.png", b"quote'\".png", "日本語 ünï.png".encode(), b"UPPER.PNG", b"new\nline.png",
    b"latin1-\xe9.png", b"back\\slash.png", b"x" * 240 + b".png", b"<script>.png", b"..dots..png", b"\xf0\x9f\x8e\xa8.png",
)  # fmt: skip


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rng: random.Random) -> bytes:
    """A PNG by its structure; what the pixels are, nobody looks at."""
    data = chunk(b"IDAT", rng.randbytes(rng.randrange(20, 6000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)) + data + chunk(b"IEND", b"")


def write_some(folder: bytes, number: int, rng: random.Random) -> tuple[bytes, bool]:
    """One sample in one of the ways; its path, and whether it is whole now."""
    name = b"2026-11-22_10-00-00-training-sample-%d-0-%d.png" % (number, number)
    way = rng.choice(("plain", "chunks", "renamed", "replaced", "cut", "empty", "odd", "appended"))
    if way == "odd":
        name = b"%d " % number + rng.choice(ODD_NAMES)[:200] + b".png"
    path, data = folder + b"/" + name, png(rng)
    if way in ("plain", "odd"):
        put(path, data)
    elif way in ("chunks", "appended"):
        size = max(1, len(data) // rng.randint(2, 9))
        for start in range(0, len(data), size):
            put(path, data[start : start + size], os.O_APPEND)
            if rng.random() < 0.02:
                time.sleep(0.005)
    elif way == "renamed":
        put(folder + b"/.tmp-%d" % number, data)
        os.rename(folder + b"/.tmp-%d" % number, path)  # noqa: PTH104 - names that are bytes
    elif way == "replaced":
        put(path, data[: len(data) // 2])
        put(path + b".new", png(rng))
        os.replace(path + b".new", path)  # noqa: PTH105 - names of bytes, which pathlib does not have
    else:
        put(path, data[: len(data) - rng.randint(1, len(data) - 1)] if way == "cut" else b"")
    return path, way not in ("cut", "empty")


def put(path: bytes, data: bytes, flags: int = os.O_TRUNC) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
    os.write(fd, data)
    os.close(fd)


def main() -> None:
    folder, count, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(sys.argv[3])
    below = [folder / name for name in ("0 - a circle", "1 - a squäre", "custom")]
    found: dict[bool, list[str]] = {True: [], False: []}
    for one in below:
        one.mkdir(parents=True, exist_ok=True)
    folders = [os.fsencode(one) for one in below]
    for number in range(count):
        path, whole = write_some(rng.choice(folders), number, rng)
        found[whole].append(base64.urlsafe_b64encode(path).decode().rstrip("="))
    sys.stdout.write(json.dumps({"whole": found[True], "torn": found[False]}) + "\n")


if __name__ == "__main__":
    main()
