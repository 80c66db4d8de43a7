"""Model files: is one whole? Blocks on the disk; the only thing read is a header."""

import os
from pathlib import Path

import orjson

from daemon.files.reading import open_regular

SAFETENSORS = ".safetensors"
_MOST_HEADER = 100 << 20
"""The limit of the safetensors library itself."""


def is_whole_model(path: Path) -> bool | None:
    """Whether the model at *path* was written to its end; None where its format does not tell.

    A safetensors file says in its header where its last tensor ends (github.com/huggingface/safetensors, Format). A folder, the
    diffusers' format, is whole when all those inside it are.
    """
    if path.is_dir():
        parts = [is_whole_model(part) for part in path.rglob(f"*{SAFETENSORS}")]
        return False if False in parts else True if parts else None
    return _is_whole_safetensors(path) if path.suffix == SAFETENSORS else None


def _is_whole_safetensors(path: Path) -> bool:
    fd = open_regular(path)
    if fd is None:
        return False
    try:
        size = os.fstat(fd).st_size
        length = int.from_bytes(os.pread(fd, 8, 0), "little")
        if not 2 <= length <= min(_MOST_HEADER, size - 8):
            return False
        header = orjson.loads(os.pread(fd, length, 8))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return size == 8 + length + max(ends, default=0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return False
    finally:
        os.close(fd)
