"""Where clients may point: the roots, and the functions that every path from a client goes through."""

import errno
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from daemon.errors import ForbiddenError, InvalidError

_NEVER = tuple(map(Path, ("/proc", "/sys", "/dev")))
"""What lies here are no files: to open one may block, or do something. A root has to lie here itself to open it (`/dev/shm/x`)."""
_WHOLE = Path("/")
_PRIVATE = ("token", "tokens.json", "current.secrets.json", "audit.jsonl")
"""In the state directory, which is a root: what no client may name, nor what has a number behind it (`audit.jsonl.1`)."""


class Roots:
    """The folders inside which clients may name paths, links resolved."""

    def __init__(self, roots: Iterable[Path], base: Path, state_dir: Path | None = None, private: Iterable[Path] = ()) -> None:
        """*base* is what a relative path is relative to. In *state_dir* the tokens, and the secrets of runs, stay closed; so do the files
        *private*."""
        self.base = base
        self.roots = _resolved(roots)
        self._state_dir = state_dir.resolve() if state_dir else None
        self._private = {path.resolve() for path in private}

    def prepared(self, roots: Iterable[Path]) -> Callable[[], None]:
        """What puts *roots* in the place of the present ones, for every holder of this object."""
        resolved = _resolved(roots)

        def commit() -> None:
            self.roots = resolved

        return commit

    def resolve(self, text: str, key: str = "path", *, hidden: bool = False) -> Path:
        """The absolute path that *text* names, links resolved, inside a root. It need not exist. *key* names it in messages.

        *hidden*: it may lie in a folder, or have a name, that begins with a dot. Where the root itself does, that counts for nothing.

        Raises:
            InvalidError: it is empty, too long, has a NUL byte or stands for no bytes.
            ForbiddenError: it lies outside the roots (code `outside_roots`), is hidden (`hidden_path`) or secret (`private_path`).
        """
        path = self._real(text, key, expands_home=True)
        self._refuse(path, text, key, hidden=hidden)
        return path

    def resolve_for_trainer(self, text: str, key: str, *, hidden: bool = False) -> Path:
        """The path that a trainer opens when its config says *text*; as `readings`, and the first of them."""
        return self.readings(text, key, hidden=hidden)[0]

    def readings(self, text: str, key: str, *, hidden: bool = False) -> list[Path]:
        """The paths that a trainer may open when its config says *text*: as `resolve`, in each way in which a trainer may read it.

        OneTrainer opens `~` as a folder of that name, and turns `\\` into `/` (path_util.canonical_join); `x/../y` is y to whoever
        tidies paths up first, and beside the target of the link x to the kernel. All of them must lie inside.
        """
        slashed = text.replace("\\", "/")
        texts = dict.fromkeys((text, slashed, os.path.normpath(text), os.path.normpath(slashed)))
        found = [self._real(one, key) for one in texts]
        for path in found:
            self._refuse(path, text, key, hidden=hidden)
        # `~` means the home folder to the daemon, which reads a config's lists itself.
        return [self.resolve(text, key, hidden=hidden), *found] if text[:1] == "~" else found

    def contains(self, path: Path) -> bool:
        """Whether *path*, already resolved, lies in a root."""
        return self._root_of(path) is not None

    def open_file(self, path: Path) -> int:
        """A descriptor, to read, of the regular file *path*, which has passed `resolve`. Blocks on the disk, never on a pipe or a device.

        Nothing but a regular file is opened at all, since opening some devices does something. No link in the last place is
        followed; and when a folder on the way has become one meanwhile, what counts is where the open file really is.

        Raises:
            OSError: it cannot be opened; ELOOP for a link, EINVAL for no regular file, EXDEV for one that lies elsewhere by now.
        """
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            mode = os.fstat(fd).st_mode
            if stat.S_ISLNK(mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            if not stat.S_ISREG(mode):
                raise OSError(errno.EINVAL, "it is not a regular file", str(path))
            if not self.holds(fd):
                raise OSError(errno.EXDEV, "it has become a link out of the roots", str(path))
            return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        finally:
            os.close(fd)

    def open_folder(self, path: Path) -> int:
        """A descriptor of the folder *path*, as `open_file` gives one of a file. Raises OSError; ENOTDIR for a link, too."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        if not self.holds(fd):
            os.close(fd)
            raise OSError(errno.EXDEV, "it has become a link out of the roots", str(path))
        return fd

    def holds(self, fd: int) -> bool:
        """Whether what is open there lies in a root, whatever its name has become."""
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115 - a magic link
        return self.contains(path) and not self._is_private(path)

    def _real(self, text: str, key: str, *, expands_home: bool = False) -> Path:
        if not _is_path(text):
            shown = text[:200].encode("utf-8", "backslashreplace").decode()
            raise InvalidError(f"{key}: {shown!r} is not a path: it is empty, too long, or has a NUL byte or half a character", key=key)
        try:
            return Path(os.path.realpath(self.base / (Path(text).expanduser() if expands_home else text)))
        except (OSError, RuntimeError, ValueError) as error:
            raise InvalidError(f"{key}: {text[:200]!r} cannot be resolved: {error}", key=key) from error

    def _refuse(self, path: Path, text: str, key: str, *, hidden: bool) -> None:
        root = self._root_of(path)
        if root is None:
            raise ForbiddenError(
                f"{key}: {text!r} is outside the folders that clients may name ({', '.join(map(str, self.roots))}); "
                "add its folder to paths.roots in the settings to allow it",
                code="outside_roots", path=str(path), roots=[str(one) for one in self.roots], setting="paths.roots",
            )  # fmt: skip
        if self._is_private(path):
            raise ForbiddenError(f"{key}: {text!r} is where the daemon keeps secrets; nobody may name it", code="private_path")
        if not hidden and any(part.startswith(".") for part in path.relative_to(root).parts):
            raise ForbiddenError(
                f"{key}: {text!r} is hidden, or in a hidden folder, where programs keep their keys and settings; "
                "add that folder itself to paths.roots in the settings to allow it",
                code="hidden_path", path=str(path), setting="paths.roots",
            )  # fmt: skip

    def _root_of(self, path: Path) -> Path | None:
        """The innermost root that *path* lies in."""
        text = f"{path}/"
        root = max((one for one in self.roots if _is_in(text, one)), key=lambda one: len(one.parts), default=None)
        closed = root is not None and any(_is_in(text, never) and not root.is_relative_to(never) for never in _NEVER)
        return None if closed else root

    def _is_private(self, path: Path) -> bool:
        if path in self._private:
            return True
        if self._state_dir is None or not path.is_relative_to(self._state_dir):
            return False
        below = path.relative_to(self._state_dir).parts
        return bool(below) and (below[0].rstrip(".0123456789") in _PRIVATE or (below[0] == "runs" and "secrets" in below[2:3]))


def _is_in(text: str, folder: Path) -> bool:
    """`Path.is_relative_to`, in a tenth of its time; *text* ends with a slash."""
    return text.startswith(f"{folder}/") or folder == _WHOLE


def _is_path(text: str) -> bool:
    try:
        parts = os.fsencode(text).split(b"/")
    except UnicodeEncodeError:
        return False
    return bool(text) and "\0" not in text and sum(map(len, parts)) + len(parts) <= 4096 and all(len(part) <= 255 for part in parts)


def _resolved(roots: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(root.resolve() for root in roots))
