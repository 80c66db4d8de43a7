"""Presets: configs with a name. The user's can be saved and deleted; the built-in ones and OneTrainer's are only read."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from daemon.config import preset_files
from daemon.config.loading import load_config_file
from daemon.config.merge import deep_merge
from daemon.config.preset_files import PresetInfo, Source
from daemon.config.preset_names import checked_name
from daemon.config.writing import write_config
from daemon.errors import ConflictError, NotFoundError, UnavailableError


class Presets:
    """Safe to use from several threads; every method blocks on the disk.

    A name is looked for among the user's presets, then the built-in ones, then OneTrainer's: a new release that brings a
    built-in preset of the same name takes nothing away from the user.
    """

    def __init__(self, user_dir: Path, builtin_dir: Path, extra_dirs: Sequence[Path] = ()) -> None:
        """*extra_dirs*: OneTrainer's `training_presets`. Folders may be missing."""
        self._user_dir = user_dir
        self._read_only: list[tuple[Source, Path]] = [("builtin", builtin_dir), *(("onetrainer", folder) for folder in extra_dirs)]
        self._lock = threading.Lock()

    def list(self, config_dir: Path | None = None) -> Sequence[PresetInfo]:
        """All presets, or those in *config_dir* (a path that has passed `Roots.resolve`). Of several with one name, what `get` reads.

        Raises:
            NotFoundError: *config_dir* is no folder (code `no_folder`).
        """
        if config_dir is not None and not config_dir.is_dir():
            raise NotFoundError(f"config_dir: {config_dir} is no folder", code="no_folder", path=str(config_dir))
        seen: dict[str, PresetInfo] = {}
        for source, folder in self._folders(config_dir):
            new: dict[str, Path] = {}
            for name, path in preset_files.find_files(folder):
                if name not in seen:
                    new.setdefault(name, path)
            seen |= {info.name: info for info in preset_files.describe(list(new.items()), folder, source)}
        return list(seen.values())

    def get(self, name: str, config_dir: Path | None = None) -> dict[str, Any]:
        """The config of the preset *name*.

        Raises:
            InvalidError: *name* can be no preset's (code `bad_name`), or its file is broken (code `bad_json`, with the place).
            NotFoundError: there is none (code `no_preset`).
        """
        name = checked_name(name)
        for _, folder in self._folders(config_dir):
            if path := _find(folder, name):
                return load_config_file(path)
        raise _no_preset(name)

    def save(self, name: str, config: Mapping[str, Any], *, partial: bool = False) -> dict[str, Any]:
        """Save *config* as the user's preset *name*, or with *partial* lay it over the one that is there, and return the result.

        Raises:
            InvalidError: a bad name, or the one to merge into is broken.
            ConflictError: it is the name of a preset that is only read (code `builtin_preset`).
            UnavailableError: the disk refuses; the preset is then as it was.
        """
        name = checked_name(name)
        with self._lock:
            path = self._user_dir / f"{name}.json"
            if not path.exists():
                self._refuse_read_only(name, "saved")
            result = dict(config)
            if partial and path.exists():
                result = deep_merge(load_config_file(path), config)
            write_config(path, result)
        return result

    def delete(self, name: str) -> None:
        """Delete the user's preset *name*.

        Raises:
            InvalidError, NotFoundError, ConflictError: as in `save` and `get`.
            UnavailableError: the disk refuses.
        """
        name = checked_name(name)
        with self._lock:
            try:
                (self._user_dir / f"{name}.json").unlink()
            except FileNotFoundError:
                self._refuse_read_only(name, "deleted")
                raise _no_preset(name) from None
            except OSError as error:
                raise UnavailableError(f"the preset {name!r} cannot be deleted: {error.strerror}", code="cannot_write") from error

    def _folders(self, config_dir: Path | None) -> Sequence[tuple[Source, Path]]:
        return [("folder", config_dir)] if config_dir is not None else [("user", self._user_dir), *self._read_only]

    def _refuse_read_only(self, name: str, verb: str) -> None:
        for source, folder in self._read_only:
            if _find(folder, name):
                owner = "built in" if source == "builtin" else "OneTrainer's own"
                raise ConflictError(
                    f"the preset {name!r} is {owner} and cannot be {verb}; use another name",
                    code="builtin_preset",
                    name=name,
                    source=source,
                )


def _find(folder: Path, name: str) -> Path | None:
    """The file of the preset *name* in *folder* or below; of several the first."""
    if (direct := folder / f"{name}.json").is_file() and not direct.is_symlink():
        return direct
    return next((path for found, path in preset_files.find_files(folder) if found == name), None)


def _no_preset(name: str) -> NotFoundError:
    return NotFoundError(f"there is no preset {name!r}; GET /config/presets lists them", code="no_preset", name=name)
