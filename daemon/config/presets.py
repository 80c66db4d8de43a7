"""Presets: configs with a name. The user's can be saved and deleted; the built-in ones and OneTrainer's are only read."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from daemon.config import preset_files
from daemon.config.loading import load_config_file
from daemon.config.masking import split
from daemon.config.merge import deep_merge
from daemon.config.preset_files import Found, PresetInfo
from daemon.config.preset_names import Origin, Wanted, wanted
from daemon.config.writing import write_config
from daemon.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from daemon.paths import Roots


class Presets:
    """One namespace over three origins. Safe to use from several threads; every method blocks on the disk.

    A name alone is looked for among the user's presets, then the built-in ones, then OneTrainer's: a new release that brings a
    built-in preset of the same name takes nothing away from the user. Category and origin say which of several is meant.
    """

    def __init__(self, user_dir: Path, builtin_dir: Path, extra_dirs: Sequence[Path] = (), roots: Roots | None = None) -> None:
        """*extra_dirs*: OneTrainer's `training_presets`. Folders may be missing. *roots*: where what is in a `config_dir` has to lie."""
        self._roots = roots
        self._user_dir = user_dir
        self._read_only: list[tuple[Origin, Path]] = [("builtin", builtin_dir), *(("onetrainer", folder) for folder in extra_dirs)]
        self._lock = threading.Lock()

    def list(self, config_dir: Path | None = None) -> Sequence[PresetInfo]:
        """All presets, or those in *config_dir* (a path that has passed `Roots.resolve`), in the order in which a name is looked for.

        Raises:
            NotFoundError: *config_dir* is no folder (code `no_folder`).
        """
        if config_dir is not None and not config_dir.is_dir():
            raise NotFoundError(f"config_dir: {config_dir} is no folder", code="no_folder", path=str(config_dir))
        found = list(self._files(config_dir))
        meant = {one.name: one for one in reversed(found)}  # the first: files of a folder come before its folders
        return list(preset_files.describe(found, [meant[one.name] != one for one in found], self._roots if config_dir else None))

    def get(self, name: str, config_dir: Path | None = None, *, category: str | None = None, origin: str | None = None) -> dict[str, Any]:
        """The config of the preset *name*. Of several in one origin, the one in no category, else the first.

        Raises:
            InvalidError: *name* can be no preset's (code `bad_name`), or its file is broken (code `bad_json`, with the place).
            NotFoundError: there is none (code `no_preset`).
        """
        return self.read(wanted(name, category, origin), config_dir)

    def read(self, which: Wanted, config_dir: Path | None = None) -> dict[str, Any]:
        """`get` for a name that has been checked already."""
        for origin, folder in self._folders(config_dir):
            if path := _find(folder, origin, which):
                return load_config_file(path, self._roots if origin == "folder" else None)
        raise _no_preset(which)

    def save(
        self, name: str, config: Mapping[str, Any], *, partial: bool = False, category: str | None = None, origin: str | None = None
    ) -> dict[str, Any]:
        """Save *config* as the user's preset *name*, or with *partial* lay it over the one that is there, and return the result.

        Its secrets are left out: presets are shown, copied and shared.

        Without a *category* the user's preset that has the name already is meant, whatever its category; a new one gets none.

        Raises:
            InvalidError: a bad name, or the one to merge into is broken.
            ConflictError: it is the name of a preset that is only read (code `builtin_preset`), or of several in different
                categories (code `ambiguous_preset`).
            UnavailableError: the disk refuses; the preset is then as it was.
        """
        which = wanted(name, category, origin)
        with self._lock:
            path = self._own(which)
            if path is None:
                self._refuse_read_only(which, "saved")
                path = self._new(which)
            result, _ = split(config)
            if partial and path.exists():
                result = deep_merge(load_config_file(path), result)
            write_config(path, result)
        return result

    def delete(self, name: str, *, category: str | None = None, origin: str | None = None) -> None:
        """Delete the user's preset *name*, and its category when that is empty then.

        Raises:
            InvalidError, NotFoundError, ConflictError: as in `save` and `get`.
            UnavailableError: the disk refuses.
        """
        which = wanted(name, category, origin)
        with self._lock:
            path = self._own(which)
            if path is None:
                self._refuse_read_only(which, "deleted")
                raise _no_preset(which)
            try:
                path.unlink()
            except FileNotFoundError:
                raise _no_preset(which) from None
            except OSError as error:
                raise UnavailableError(f"the preset {str(which)!r} cannot be deleted: {error.strerror}", code="cannot_write") from error
            self._remove_empty(path.parent)

    def _files(self, config_dir: Path | None) -> Iterator[Found]:
        for origin, folder in self._folders(config_dir):
            yield from preset_files.find_files(folder, origin, self._roots if origin == "folder" else None)

    def _folders(self, config_dir: Path | None) -> Sequence[tuple[Origin, Path]]:
        return [("folder", config_dir)] if config_dir is not None else [("user", self._user_dir), *self._read_only]

    def _own(self, which: Wanted) -> Path | None:
        """The file of the user's preset that is meant; None when there is none yet."""
        if which.origin not in {None, "user"}:
            return None
        found = [one for one in preset_files.find_files(self._user_dir, "user") if one.is_wanted(which)]
        if plain := next((one.path for one in found if not one.category), None):
            return plain
        if len(found) > 1:
            categories = [one.category for one in found]
            raise ConflictError(
                f"there are several presets {which.name!r}, in {', '.join(categories)}; say which with category=",
                code="ambiguous_preset", name=which.name, categories=categories,
            )  # fmt: skip
        return found[0].path if found else None

    def _new(self, which: Wanted) -> Path:
        folder = self._user_dir.joinpath(*(which.category or "").split("/"))
        links = [place for place in (folder, *folder.parents) if place != self._user_dir and place.is_relative_to(self._user_dir)]
        if any(place.is_symlink() for place in links):
            raise InvalidError(f"the category {which.category!r} leads through a symbolic link, which is not followed", code="bad_category")
        return folder / f"{which.name}.json"

    def _remove_empty(self, folder: Path) -> None:
        while folder != self._user_dir and folder.is_relative_to(self._user_dir):
            try:
                folder.rmdir()
            except OSError:  # something else is in it
                return
            folder = folder.parent

    def _refuse_read_only(self, which: Wanted, verb: str) -> None:
        for origin, folder in self._read_only:
            if _find(folder, origin, which):
                owner = "built in" if origin == "builtin" else "OneTrainer's own"
                raise ConflictError(
                    f"the preset {str(which)!r} is {owner} and cannot be {verb}; use another name",
                    code="builtin_preset", name=which.name, source=origin,
                )  # fmt: skip
        if which.origin not in {None, "user"}:
            raise _no_preset(which)


def _find(folder: Path, origin: Origin, which: Wanted) -> Path | None:
    """The file that is meant in *folder* or below; of several the one in no category, else the first."""
    if which.category in {None, ""} and which.origin in {None, origin}:
        direct = folder / f"{which.name}.json"
        if direct.is_file() and not direct.is_symlink():
            return direct
    return next((one.path for one in preset_files.find_files(folder, origin) if one.is_wanted(which)), None)


def _no_preset(which: Wanted) -> NotFoundError:
    return NotFoundError(f"there is no preset {str(which)!r}; GET /config/presets lists them", code="no_preset", name=which.name)
