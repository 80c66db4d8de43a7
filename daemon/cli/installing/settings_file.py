"""Keys of a settings file, set in place: comments, order and what the operator wrote stay. Pure."""

import json
import re
import tomllib
from collections.abc import Mapping

from daemon.errors import ConflictError


def with_keys(text: str, values: Mapping[str, object]) -> str:
    """*text* with each dotted key of *values* set: at its line where there is one, else at the end of its section.

    Raises:
        ConflictError: the file says it in a form that is not understood here (a value over several lines, a dotted section).
    """
    for key, value in values.items():
        text = _with_key(text, key, value)
        found: object = tomllib.loads(text)
        for part in key.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if found != value:
            raise ConflictError(f"{key} could not be set to {value!r} in the settings file; set it there by hand, then install again")
    return text


def _with_key(text: str, key: str, value: object) -> str:
    section, _, name = key.rpartition(".")
    wanted = f"{name} = {json.dumps(value, ensure_ascii=False)}"
    lines = text.splitlines()
    begin, end = _bounds(lines, section)
    if begin is None:
        return "\n".join([*lines, "", f"[{section}]", wanted]) + "\n"
    for number in range(begin, end):
        if re.match(rf"{re.escape(name)}\s*=", lines[number]):
            lines[number] = wanted
            return "\n".join(lines) + "\n"
    while end > begin and not lines[end - 1].strip():
        end -= 1
    return "\n".join([*lines[:end], wanted, *lines[end:]]) + "\n"


def _bounds(lines: list[str], section: str) -> tuple[int | None, int]:
    """The lines of *section*, its header not included; the part before the first section has no name."""
    heads = [(number, line.strip()) for number, line in enumerate(lines) if line.lstrip().startswith("[")]
    starts = [(-1, "[]"), *heads]
    for position, (number, head) in enumerate(starts):
        if re.fullmatch(rf"\[\s*{re.escape(section)}\s*\]\s*(#.*)?", head):
            return number + 1, starts[position + 1][0] if position + 1 < len(starts) else len(lines)
    return None, 0
