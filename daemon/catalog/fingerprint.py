"""What a catalog depends on, as far as it can be seen without running anything."""

import os
from pathlib import Path
from typing import Any

from daemon.system.probe import find_fingerprint

_FOLDERS = ("modules/util/config", "modules/util/enum")
_FILES = ("modules/util/optimizer_util.py", "modules/util/type_util.py", "modules/util/torch_util.py", "modules/ui/TopBar.py")


def fingerprint_of(root: Path, python: Path, archive: Path) -> list[Any]:
    """JSON, equal as long as nothing changed: the checkout's commit, its files that matter, its Python and torch, and our own probe."""
    files = [path for folder in _FOLDERS for path in sorted((root / folder).glob("*.py"))] + [root / name for name in _FILES]
    times = [[os.fspath(path.relative_to(root)), *_times(path)] for path in files]
    return [archive.name, os.fspath(root), _head(root), find_fingerprint(python), times]


def _times(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


def _head(root: Path) -> str:
    """The commit that is checked out, or whatever the repository says in its place; empty outside of one."""
    try:
        place = root / ".git"
        if place.is_file():  # a worktree, or a submodule
            place = root / place.read_text(encoding="utf-8", errors="replace").removeprefix("gitdir:").strip()
        head = (place / "HEAD").read_text(encoding="utf-8", errors="replace").strip()
        common = place / "commondir"
        shared = place / common.read_text(encoding="utf-8", errors="replace").strip() if common.is_file() else place
        if not head.startswith("ref:"):
            return head
        branch = shared / head.removeprefix("ref:").strip()
        return (
            branch.read_text(encoding="utf-8", errors="replace").strip() if branch.is_file() else f"{head} {_times(shared / 'packed-refs')}"
        )
    except OSError:
        return ""
