"""What a preset may be called, and how one of several with that name is meant: by category and origin.

A name is a file name without `.json`, a category the folders around it; both come from a URL.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from daemon.errors import InvalidError

Origin = Literal["user", "builtin", "onetrainer", "folder"]
"""Whose a preset is; `folder`: it lies in a folder that the client named."""
ORIGINS: Sequence[str] = get_args(Origin)[:3]
NO_CATEGORY = "."
"""How a client says "in no folder", where an empty text would mean "in any"."""
MAX_BYTES = 200
"""With `.json`, and what an atomic replacement puts around it, below the 255 bytes of a file name."""
MAX_DEPTH = 8
"""Folders below the one that is searched."""
_REFUSED = {"Cc": "a control character", "Cs": "half a surrogate pair", "Zl": "a line separator", "Zp": "a paragraph separator"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which preset is meant. *category*: None for any, an empty text for none; *origin*: None for any."""

    name: str
    category: str | None = None
    origin: str | None = None

    def __str__(self) -> str:
        where = [self.origin] if self.origin else []
        return "/".join([*where, *([self.category] if self.category else []), self.name])


def wanted(name: str, category: str | None = None, origin: str | None = None) -> Wanted:
    """Three texts from a client, checked, in NFC. *category*: folders with `/` between them, `.` for none.

    Raises:
        InvalidError: naming what is wrong (code `bad_name`, `bad_category` or `bad_origin`).
    """
    if origin is not None and origin not in ORIGINS:
        raise InvalidError(f"there is no origin {_shown(origin)}; it is one of {', '.join(ORIGINS)}", code="bad_origin")
    return Wanted(checked_name(name), None if category is None else _checked_category(category), origin)


def by_reference(text: str) -> Wanted:
    """What `NAME`, `CATEGORY/NAME` or `ORIGIN/[CATEGORY/]NAME` means, checked. With an origin, no category means none.

    Raises:
        InvalidError: as `wanted`.
    """
    *folders, name = text.split("/")
    if folders and folders[0] in ORIGINS:
        return wanted(name, "/".join(folders[1:]) or NO_CATEGORY, folders[0])
    return wanted(name, "/".join(folders) if folders else None)


def checked_name(text: str) -> str:
    """*text* in NFC, when it may be the name of a preset. OneTrainer's own look like `#sd 1.5 LoRA`.

    Raises:
        InvalidError: naming what is wrong with it (code `bad_name`).
    """
    name = unicodedata.normalize("NFC", text)
    problem = _problem(name)
    if problem:
        shown = text[:100].encode("utf-8", "replace").decode()
        raise InvalidError(f"{shown!r} is no name for a preset: it {problem}", code="bad_name", name=shown)
    return name


def is_name(text: str) -> bool:
    """Whether a file of that name, without `.json`, is a preset."""
    return _problem(text) is None


def _checked_category(text: str) -> str:
    category = unicodedata.normalize("NFC", text)
    if category in {"", NO_CATEGORY}:
        return ""
    folders = category.split("/")
    problem = next(filter(None, map(_problem_anywhere, folders)), None)
    if problem or len(folders) > MAX_DEPTH:
        raise InvalidError(
            f"{_shown(text)} is no category: {f'a folder of it {problem}' if problem else f'it is deeper than {MAX_DEPTH} folders'}",
            code="bad_category",
        )
    return category


def _shown(text: str) -> str:
    return repr(text[:100].encode("utf-8", "replace").decode())


def _problem(name: str) -> str | None:
    if "/" in name:
        return "has a '/' in it"
    if name == "#":
        return "is where OneTrainer's window keeps its last session"
    return _problem_anywhere(name)


def _problem_anywhere(name: str) -> str | None:
    if not name:
        return "is empty"
    if name.startswith("."):
        return "begins with a '.'"
    if name != name.strip():
        return "begins or ends with a space"
    for character in name:
        if kind := _REFUSED.get(unicodedata.category(character)):
            return f"has {kind} in it"
    if len(name.encode()) > MAX_BYTES:
        return f"is longer than {MAX_BYTES} bytes"
    return None
