"""What a preset may be called: its name is a file name, and comes from a URL."""

import unicodedata

from daemon.errors import InvalidError

MAX_BYTES = 200
"""With `.json`, and what an atomic replacement puts around it, below the 255 bytes of a file name."""
_REFUSED = {"Cc": "a control character", "Cs": "half a surrogate pair", "Zl": "a line separator", "Zp": "a paragraph separator"}


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


def _problem(name: str) -> str | None:
    if not name:
        return "is empty"
    if "/" in name:
        return "has a '/' in it"
    if name == "#":
        return "is where OneTrainer's window keeps its last session"
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
