"""A config as rules see it: over the defaults, without what is wrong or uncertain."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from daemon.config.described import Described
from daemon.config.schema_words import pointer
from daemon.errors import DaemonError
from daemon.paths import Roots

_MISSING = object()


class View:
    """One config. Every reader returns None for what is not there, of the wrong kind, or not to be known before a migration."""

    def __init__(
        self,
        config: Mapping[str, Any],
        described: Described,
        roots: Roots,
        uncertain: Collection[str] = (),
        given: Collection[str] | None = None,
    ) -> None:
        """*uncertain*: keys at the top; *given*: those that a client wrote, all of *config* unless said. *wrong*, to be filled, are the
        pointers of values that are errors already.
        """
        self.config = config
        self.described = described
        self.roots = roots
        self.wrong: set[str] = set()
        self._uncertain = uncertain
        self._given = config if given is None else given

    def is_given(self, key: str) -> bool:
        return key in self._given

    def value(self, *path: str) -> Any:
        """What the trainer would see at *path*: the config's value, else the default."""
        if path[0] in self._uncertain or any(pointer(path[:length]) in self.wrong for length in range(1, len(path) + 1)):
            return None
        for place in (self.config, self.described.defaults):
            found: Any = place
            for key in path:
                found = found.get(key, _MISSING) if isinstance(found, Mapping) else _MISSING
            if found is not _MISSING:
                return found
        return None

    def text(self, *path: str) -> str | None:
        value = self.value(*path)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        return value if isinstance(value, str) else None

    def integer(self, *path: str) -> int | None:
        value = self.value(*path)
        if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value):
            return int(value)
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1 else None

    def is_on(self, *path: str) -> bool:
        return self.value(*path) is True

    def concepts(self) -> list[tuple[int, Mapping[str, Any]]] | None:
        """The enabled ones, with their index; None when they are in a file, or something is wrong with one."""
        value = self.value("concepts")
        if not isinstance(value, list) or any(one.startswith("/concepts/") for one in self.wrong):
            return None
        return [(index, one) for index, one in enumerate(value) if isinstance(one, Mapping) and one.get("enabled", True) is not False]

    def model(self) -> Mapping[str, Any] | None:
        """The description of its model type."""
        name = self.text("model_type")
        return self.described.by_model_type.get(name) if name else None

    def inside(self, text: str) -> Path | None:
        """The path that *text* names, links resolved; None outside the roots: nothing is told of what lies there."""
        try:
            return self.roots.resolve_for_trainer(text, "path", hidden=True)
        except DaemonError:
            return None


def shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:197]}..."


def children(folder: Path, limit: int, *, is_deep: bool) -> Iterator[Path]:
    """At most *limit* files in *folder*, in no order; hidden ones and links to folders are passed over."""
    left = limit
    waiting = [folder]
    while waiting and left > 0:
        try:
            for entry in waiting.pop().iterdir():
                left -= 1
                if left < 0:
                    return
                if entry.is_dir():
                    if is_deep and not entry.is_symlink() and not entry.name.startswith("."):
                        waiting.append(entry)
                elif not entry.name.startswith("."):
                    yield entry
        except OSError:
            continue
