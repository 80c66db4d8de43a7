"""Where clients may point: the roots, and the one function that every path from a client goes through."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from daemon.errors import ForbiddenError, InvalidError


class Roots:
    """The folders inside which clients may name paths, links resolved."""

    def __init__(self, roots: Iterable[Path], base: Path) -> None:
        """*base* is what a relative path is relative to."""
        self.base = base
        self.roots = _resolved(roots)

    def prepared(self, roots: Iterable[Path]) -> Callable[[], None]:
        """What puts *roots* in the place of the present ones, for every holder of this object."""
        resolved = _resolved(roots)

        def commit() -> None:
            self.roots = resolved

        return commit

    def resolve(self, text: str, key: str = "path") -> Path:
        """The absolute path that *text* names, links resolved, inside a root. It need not exist. *key* names it in messages.

        Raises:
            InvalidError: it is empty, too long or has a NUL byte.
            ForbiddenError: it lies outside the roots (code `outside_roots`).
        """
        if not text or "\0" in text or len(os.fsencode(text)) > 4095 or any(len(os.fsencode(part)) > 255 for part in text.split("/")):
            raise InvalidError(f"{key}: {text[:200]!r} is not a path: it is empty, too long or has a NUL byte", key=key)
        try:
            path = Path(os.path.realpath(self.base / Path(text).expanduser()))
        except (OSError, RuntimeError) as error:
            raise InvalidError(f"{key}: {text[:200]!r} cannot be resolved: {error}", key=key) from error
        if not self.contains(path):
            raise ForbiddenError(
                f"{key}: {text!r} is outside the folders that clients may name ({', '.join(map(str, self.roots))}); "
                "add its folder to paths.roots in the settings to allow it",
                code="outside_roots", path=str(path), roots=[str(root) for root in self.roots], setting="paths.roots",
            )  # fmt: skip
        return path

    def contains(self, path: Path) -> bool:
        """Whether *path*, already resolved, lies in a root."""
        return any(path.is_relative_to(root) for root in self.roots)


def _resolved(roots: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(root.resolve() for root in roots))
