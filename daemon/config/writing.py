"""Write a config file whole."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon.config.loading import MAX_BYTES
from daemon.errors import InvalidError, UnavailableError
from ipc.atomic import replace_file


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Replace *path* atomically with *config*, for the eyes of the daemon's user only. Makes the folder. Not for two threads at once.

    Raises:
        InvalidError: it is larger than what would be read back (code `too_large`); *path* is as it was.
        UnavailableError: the folder cannot be written (code `cannot_write`); *path* is as it was.
    """
    data = (json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    if len(data) > MAX_BYTES:
        raise InvalidError(
            f"the config would be {len(data)} bytes on disk; at most {MAX_BYTES} are read back", code="too_large", limit=MAX_BYTES
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data, 0o600)
    except OSError as error:
        raise UnavailableError(
            f"{path}: cannot be written: {os.strerror(error.errno or 0)}", code="cannot_write", path=str(path)
        ) from error
