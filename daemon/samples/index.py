"""The whole sample files of one run, kept, so that 100,000 of them are not read again at each look.

A watch only says that something may have changed; what is there says the disk, and `SampleIndex.reconcile` reads it.
A folder whose modification time stands still has no file more and none fewer, so it is not read again. What the folder's time
does not tell is looked at file by file: those not yet whole, and those found a short time ago.

The same sample is announced again when its modification time or size changed, since then it was written again (OneTrainer
gives two custom samples of one second the same name). A new inode alone is no news: a restored backup and a remounted network
file system bring those. A file overwritten in place more than a minute after it was found is seen when its folder changes next.
"""

import contextlib
import heapq
import logging
import os
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from sys import intern
from typing import Any, Final

from daemon.errors import NotFoundError
from daemon.paths import Roots
from daemon.samples.formats import Seen, look_inside, media_type
from daemon.samples.names import SampleInfo, Told, describe_file, known_of, moment_us, path_of, read_told
from daemon.samples.selection import ALL, Page, Place, Wanted, page_of

log = logging.getLogger(__name__)

_SETTLE_S: Final = 2.0
"""Two changes of a folder within one tick of its file system's clock give one modification time; FAT's tick is 2 s."""

_RECENT_S: Final = 60.0
_MAX_DEPTH: Final = 8
_MAX_ENTRIES: Final = 500_000


_NOTHING: Final[Told] = {}
_File = tuple[int, str, str, Seen]
"""Modification time, folder and name of a known file, and how it was seen."""


class _Folder:
    """What is known of one folder. *since* is when its present *mtime_ns* was first seen, by the monotonic clock:
    a network file system's own clock may be minutes off."""

    __slots__ = ("folders", "known", "mtime_ns", "pending", "recent", "settled", "since")

    def __init__(self) -> None:
        self.mtime_ns = -1
        self.since = 0.0
        self.settled = False
        self.folders: list[str] = []
        self.known: dict[str, Seen] = {}
        self.pending: dict[str, tuple[Seen, float]] = {}
        """Not whole: as last looked at, and since when it is like this."""
        self.recent: dict[str, float] = {}
        """Written and found less than a minute ago, and when found."""

    def forget(self, name: str) -> None:
        self.known.pop(name, None)
        self.pending.pop(name, None)
        self.recent.pop(name, None)


class SampleIndex:
    """The samples below one folder.

    `reconcile` blocks on the disk: call it in a thread; calls at the same time wait for each other. The other methods answer
    from memory and may be called meanwhile from any thread.
    """

    def __init__(self, samples_dir: Path) -> None:
        """*samples_dir* is absolute and need not exist yet."""
        self.samples_dir = samples_dir
        self._root = os.fspath(samples_dir)
        self._folders: dict[str, _Folder] = {}
        self._told: dict[str, Told] = {}
        self._is_there = True
        self._complaints: set[str] = set()
        self._lock = threading.Lock()

    def tell(self, path: Path | str, event: Mapping[str, Any]) -> None:
        """Keep what the trainer's `sample` event says of the file at *path*: from now on it wins over the name."""
        self._tell(os.fspath(path), read_told(event))

    def preload(self, infos: Iterable[SampleInfo]) -> None:
        """Start from samples announced before: `reconcile` announces those again only that have changed since.

        Infos of files outside the folder, or with an id or time that is none, are passed over.
        """
        with self._lock:
            for info in infos:
                try:
                    path, seen = os.fspath(path_of(info.id)), Seen(moment_us(info.timestamp), info.size_bytes)
                except (NotFoundError, ValueError, TypeError):
                    continue
                folder, _, name = path.rpartition("/")
                if folder == self._root or folder.startswith(self._root + "/"):
                    self._folders.setdefault(folder, _Folder()).known[name] = seen
                    self._tell(path, read_told(info.to_json()))

    def reconcile(self) -> list[SampleInfo]:
        """Read what changed on the disk; the samples that are newly whole, oldest first by time, then path.

        Each is returned once, unless it is written again. Deleted ones are forgotten. While the samples folder itself is missing
        nothing is listed and nothing forgotten: that is rather an unmounted disk than 100,000 deletions.
        """
        with self._lock:
            found: list[tuple[Seen, str]] = []
            visited = self._visit(found)
            if visited is not None:
                for gone in self._folders.keys() - visited:
                    del self._folders[gone]
            self._is_there = visited is not None
        found.sort(key=lambda item: (item[0].mtime_us, item[1]))
        return [self._describe(path, seen) for seen, path in found]

    def newest(self, limit: int) -> list[SampleInfo]:
        """At most *limit* known samples, newest first, as of the last `reconcile`."""
        return list(self.page(limit).samples)

    def page(self, limit: int, wanted: Wanted = ALL, before: Place | None = None) -> Page:
        """At most *limit* known samples that are *wanted*, newest first, older than *before*, as of the last `reconcile`."""
        if not self._is_there:
            return Page([])
        kept = [(folder, list(files.known.items())) for folder, files in list(self._folders.items())]
        files: Iterable[_File] = ((seen.mtime_us, folder, name, seen) for folder, known in kept for name, seen in known)
        if before is not None:
            moment, end = before.mtime_us, (before.mtime_us, before.folder, before.name)
            files = (file for file in files if file[0] < moment or file[:3] < end)
        if not wanted.is_all:
            files = (file for file in files if self._is_wanted(file, wanted))
        return page_of(map(self._shown, heapq.nlargest(limit + 1, files)), limit)

    def _is_wanted(self, file: _File, wanted: Wanted) -> bool:
        """Without making a SampleInfo: of 100,000 that takes seconds."""
        _, folder, name, _ = file
        told = self._told.get(f"{folder}/{name}", _NOTHING) if self._told else _NOTHING
        return wanted.takes(known_of(folder, name, self._root, told))

    def _shown(self, file: _File) -> tuple[str, SampleInfo]:
        mtime_us, folder, name, seen = file
        return Place(mtime_us, folder, name).encode(), self._describe(f"{folder}/{name}", seen)

    def __len__(self) -> int:
        return sum(len(folder.known) for folder in list(self._folders.values())) if self._is_there else 0

    def _visit(self, found: list[tuple[Seen, str]]) -> set[str] | None:
        """Look at every folder; the ones that are there, or None when the samples folder is missing."""
        visited: set[str] = set()
        entries = 0
        todo = [(self._root, 0)]
        while todo:
            path, depth = todo.pop()
            try:
                folder = self._look_at_folder(path, depth, found)
            except OSError as error:
                if isinstance(error, FileNotFoundError | NotADirectoryError):
                    if depth == 0:
                        return None
                    continue
                self._complain(path, f"it cannot be read ({error.strerror}); its samples stay as they were")
                visited.update(known for known in self._folders if known == path or known.startswith(path + "/"))
                continue
            visited.add(path)
            entries += len(folder.known) + len(folder.pending) + len(folder.folders)
            if entries > _MAX_ENTRIES:
                self._complain(self._root, f"more than {_MAX_ENTRIES} entries, the rest is not looked at: move old samples away")
                visited.update(self._folders)
                break
            if depth < _MAX_DEPTH:
                todo.extend((f"{path}/{name}", depth + 1) for name in folder.folders)
        return visited

    def _look_at_folder(self, path: str, depth: int, found: list[tuple[Seen, str]]) -> _Folder:
        now = time.monotonic()
        status = os.stat(path, follow_symlinks=depth == 0)  # noqa: PTH116 - the samples folder itself may be a link, none below
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(20, "not a folder", path)
        folder = self._folders.get(path) or _Folder()
        if folder.mtime_ns != status.st_mtime_ns:
            folder.mtime_ns, folder.since, folder.settled = status.st_mtime_ns, now, False
        if folder.settled:
            for name in [*folder.pending, *folder.recent]:
                self._look_at_file(folder, path, name, now, found)
        else:
            self._scan(folder, path, now, found)
            folder.settled = now - folder.since >= _SETTLE_S
        self._folders[path] = folder
        return folder

    def _scan(self, folder: _Folder, path: str, now: float, found: list[tuple[Seen, str]]) -> None:
        folders: list[str] = []
        files: set[str] = set()
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                elif media_type(name) and len(files) < _MAX_ENTRIES:
                    files.add(intern(name))
        folder.folders = folders
        for name in (folder.known.keys() | folder.pending.keys()) - files:
            folder.forget(name)
        for name in files:
            self._look_at_file(folder, path, name, now, found)

    def _look_at_file(self, folder: _Folder, path: str, name: str, now: float, found: list[tuple[Seen, str]]) -> None:
        file = f"{path}/{name}"
        try:
            status = os.lstat(file)
        except OSError:
            folder.forget(name)
            return
        seen = Seen(status.st_mtime_ns // 1000, status.st_size)
        if folder.known.get(name) == seen:
            if now - folder.recent.get(name, now) >= _RECENT_S:
                del folder.recent[name]
            return
        before, since = folder.pending.get(name, (None, now))
        if before == seen and now - since >= _RECENT_S:
            return  # looked at long after its last change: cut short for good
        folder.forget(name)
        if stat.S_ISREG(status.st_mode) and (whole := look_inside(file)):
            folder.known[name] = whole
            if time.time() - whole.mtime_us / 1e6 < _RECENT_S:
                folder.recent[name] = now
            found.append((whole, file))
        elif stat.S_ISREG(status.st_mode):
            folder.pending[name] = (seen, since if before == seen else now)

    def _describe(self, path: str, seen: Seen) -> SampleInfo:
        return describe_file(path, self._root, seen.mtime_us, seen.size, self._told.get(path, {}))

    def _tell(self, path: str, told: Told) -> None:
        """Keep of *told* what the name does not tell: for most of 100,000 files that is little."""
        by_name = describe_file(path, self._root, 0, 0, {})
        news: Told = {name: value for name, value in told.items() if getattr(by_name, name) != value}  # type: ignore[assignment]  # its keys
        if "prompt" in news:
            news["prompt"] = intern(news["prompt"])  # a few prompts, and thousands of samples of each
        if news or path in self._told:
            self._told[path] = {**self._told.get(path, {}), **news}

    def _complain(self, path: str, what: str) -> None:
        if path not in self._complaints:
            self._complaints.add(path)
            log.warning("samples in %s: %s", path, what)


def list_folder(path: Path, limit: int) -> list[SampleInfo]:
    """At most *limit* whole samples in and below *path*, newest first, read from the disk now. Blocks; a missing folder has none."""
    return list(page_of_folder(path, limit).samples)


def page_of_folder(path: Path, limit: int, wanted: Wanted = ALL, before: Place | None = None, roots: Roots | None = None) -> Page:
    """At most *limit* whole samples in and below *path* that are *wanted*, newest first, older than *before*. Reads the disk now, and
    blocks; a missing folder has none, nor has one that has left *roots* since it was resolved."""
    root = os.fspath(path)
    return page_of(_listed(root, wanted, before, roots), limit)


def _listed(root: str, wanted: Wanted, before: Place | None, roots: Roots | None) -> Iterator[tuple[str, SampleInfo]]:
    for mtime_ns, folder, name in sorted(_files_below(root, roots), reverse=True):
        place = Place(mtime_ns // 1000, folder, name)
        if before is not None and place >= before:
            continue
        if wanted.takes(known_of(folder, name, root, {})) and (seen := look_inside(f"{folder}/{name}")):
            yield place.encode(), describe_file(f"{folder}/{name}", root, place.mtime_us, seen.size, {})


def _files_below(root: str, roots: Roots | None = None) -> Iterator[tuple[int, str, str]]:
    """Modification time, folder and name of what is named like a sample; links, hidden entries and what cannot be read left out."""
    todo = [(root, 0)]
    count = 0
    while todo:
        path, depth = todo.pop()
        try:
            with _opened(path, roots) as place, os.scandir(place) as entries:
                for entry in entries:
                    count += 1
                    if count > _MAX_ENTRIES:
                        return
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if depth < _MAX_DEPTH:
                            todo.append((f"{path}/{entry.name}", depth + 1))
                    elif media_type(entry.name) and entry.is_file(follow_symlinks=False):
                        yield entry.stat(follow_symlinks=False).st_mtime_ns, path, entry.name
        except OSError:
            continue


@contextlib.contextmanager
def _opened(path: str, roots: Roots | None) -> Iterator[str | int]:
    """What to scan *path* by: with *roots* a descriptor, so that a folder that has become a link out of them is seen through."""
    if roots is None:
        yield path
        return
    fd = roots.open_folder(Path(path))
    try:
        yield fd
    finally:
        os.close(fd)
