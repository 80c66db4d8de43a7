"""Real sample files for these tests: images by Pillow, containers made by hand from their specifications."""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image


def image(kind: str, size: int = 24) -> bytes:
    """A picture that does not compress to nothing."""
    picture = Image.frombytes("RGB", (size, size), bytes((i * 37 + i // 7) % 256 for i in range(size * size * 3)))
    data = io.BytesIO()
    picture.save(data, kind)
    return data.getvalue()


def jpeg_with_thumbnail() -> bytes:
    """A JPEG with a whole JPEG, end marker included, in its EXIF segment."""
    plain, thumbnail = image("JPEG"), image("JPEG", 8)
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 8) + b"Exif\0\0" + thumbnail + plain[2:]


def box(kind: bytes, content: bytes, *, large: bool = False) -> bytes:
    if large:
        return struct.pack(">I4sQ", 1, kind, len(content) + 16) + content
    return struct.pack(">I4s", len(content) + 8, kind) + content


def mp4(*, index_first: bool = False) -> bytes:
    """ftyp, mdat and moov, in the order of a plain or of a "fast start" file."""
    index, media = box(b"moov", box(b"mvhd", bytes(100))), box(b"mdat", bytes(range(200)), large=True)
    return box(b"ftyp", b"isom\0\0\2\0isomiso2") + (index + media if index_first else box(b"free", b"") + media + index)


def riff(kind: bytes, content: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(content) + 4) + kind + content + b"\0" * (len(content) % 2)


def avi(*, parts: int = 1) -> bytes:
    chunk = b"LIST" + struct.pack("<I", 104) + b"movi" + bytes(100)
    return riff(b"AVI ", chunk) + riff(b"AVIX", chunk) * (parts - 1)


def webm() -> bytes:
    header = b"\x1a\x45\xdf\xa3" + b"\x84" + bytes(4)
    return header + b"\x18\x53\x80\x67" + b"\x01" + (300).to_bytes(7, "big") + bytes(300)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
