"""The current config: what a start without a config runs. One JSON file in the state folder."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon.config.loading import load_config_file
from daemon.config.merge import deep_merge
from daemon.config.writing import write_config
from daemon.errors import NotFoundError


class CurrentConfig:
    """Safe to use from several threads; every method blocks on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def get(self) -> dict[str, Any]:
        """Raises NotFoundError (code `no_config`) when there is none, InvalidError when somebody broke the file by hand."""
        try:
            return load_config_file(self._path)
        except NotFoundError as error:
            raise NotFoundError(
                "there is no current config yet; PUT /config/current sets it, and so does starting a training", code="no_config"
            ) from error

    def set(self, config: Mapping[str, Any]) -> None:
        """Replace it atomically. Raises UnavailableError when the disk refuses; the old one is then still there."""
        with self._lock:
            write_config(self._path, config)

    def put(self, config: Mapping[str, Any], *, partial: bool) -> dict[str, Any]:
        """Replace it, or with *partial* lay *config* over it, and return the result. Lists replace. Without one, partial starts from {}."""
        with self._lock:
            result = dict(config)
            if partial:
                try:
                    result = deep_merge(self.get(), config)
                except NotFoundError:
                    pass
            write_config(self._path, result)
        return result
