"""The current config: what a start without a config runs. A JSON file in the state folder, and one for its secrets, which are not shown."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon.config.loading import load_config_file
from daemon.config.masking import split
from daemon.config.merge import deep_merge
from daemon.config.writing import write_config
from daemon.errors import DaemonError, NotFoundError, UnavailableError


class CurrentConfig:
    """Safe to use from several threads; every method blocks on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._secrets_path = path.with_name(f"{path.stem}.secrets.json")
        self._lock = threading.Lock()

    def get(self) -> dict[str, Any]:
        """It, without secrets. Raises NotFoundError (code `no_config`) when there is none, InvalidError when it was broken by hand."""
        return split(self._read())[0]

    def with_secrets(self) -> dict[str, Any]:
        """It, as a run is to be started with it. Raises what `get` raises."""
        with self._lock:
            config, secrets = split(self._read())[0], self._secrets()
        return {**config, "secrets": secrets} if secrets else config

    def set(self, config: Mapping[str, Any], *, keeps_secrets: bool = False) -> None:
        """Replace it atomically; its secrets go or stay. Raises UnavailableError when the disk refuses; it is then as it was."""
        with self._lock:
            self._write_secrets(self._secrets() if keeps_secrets else None)
            write_config(self._path, split(config)[0])

    def put(self, config: Mapping[str, Any], *, partial: bool) -> dict[str, Any]:
        """Replace it, or with *partial* lay *config* over it, and return the result. Lists replace. Without one, partial starts from {}.

        Its secrets are not among what `get` gives, so a *config* that has none leaves them; `"secrets": null` removes them.
        """
        result, secrets = split(config)
        with self._lock:
            if partial:
                try:
                    result = deep_merge(split(self._read())[0], result)
                except NotFoundError:
                    pass
            kept = None if config.get("secrets", ...) is None else self._secrets()
            self._write_secrets(deep_merge(kept or {}, secrets) if partial and secrets else secrets or kept)
            write_config(self._path, result)
        return result

    def _read(self) -> dict[str, Any]:
        try:
            return load_config_file(self._path)
        except NotFoundError as error:
            raise NotFoundError(
                "there is no current config yet; PUT /config/current sets it, and so does starting a training", code="no_config"
            ) from error

    def _secrets(self) -> dict[str, Any] | None:
        try:
            return load_config_file(self._secrets_path)
        except NotFoundError:
            pass
        try:
            return split(self._read())[1]  # earlier daemons kept them inside
        except DaemonError:
            return None

    def _write_secrets(self, secrets: Mapping[str, Any] | None) -> None:
        if secrets:
            write_config(self._secrets_path, secrets)
            return
        try:
            self._secrets_path.unlink(missing_ok=True)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise UnavailableError(f"{self._secrets_path}: cannot be removed: {reason}", code="cannot_write") from error
