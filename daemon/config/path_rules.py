"""Whether a trainer may have what one value of a config names: inside the roots, in each way of reading it, and no pipe or device.

What is judged is the disk as it is now. The trainer opens the path later, by its name: see ARCHITECTURE.md, "Paths".
"""

import os
import re
import stat
from pathlib import Path

from daemon.config.path_keys import Kind, Named
from daemon.config.schema_words import pointer
from daemon.errors import DaemonError
from daemon.paths import Roots

_HUB_NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?", re.ASCII)
"""`user/model`, or one of the few without a user (huggingface_hub, validate_repo_id)."""
_MAY_BE_HIDDEN = frozenset({Kind.MODEL, Kind.DATASET})
"""The hub's own cache is ~/.cache/huggingface. These hold weights and images, and what is in them is not shown."""


def is_hub_name(named: Named, roots: Roots) -> bool:
    """Whether the trainer will take it for a name on the hub: it looks like one, and nothing here has that name, which would come first."""
    if named.kind not in {Kind.MODEL, Kind.DATASET} or not _HUB_NAME.fullmatch(named.text):
        return False
    return not os.path.lexists(roots.base / named.text.partition("/")[0])


def refusal(named: Named, roots: Roots) -> str | None:
    """Why it may not be; None when it may."""
    where = pointer(named.place)
    if named.kind is Kind.NAME_PART:
        wrong = next((character for character in named.text if character in "/\\\0"), None)
        return None if wrong is None else f"{where}: {named.text[:100]!r} is put in front of file names, and may not have {wrong!r} in it"
    if is_hub_name(named, roots):
        return None
    try:
        readings = roots.readings(named.text, where, hidden=named.kind in _MAY_BE_HIDDEN)
    except DaemonError as error:
        return error.message
    return next(filter(None, (_wrong_kind(path, where) for path in readings)), None)


def _wrong_kind(path: Path, where: str) -> str | None:
    try:
        mode = path.lstat().st_mode  # resolved already: a link that is still there is a loop
    except OSError:
        return None  # what is missing is for others to say
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    what = "a symbolic link that leads nowhere" if stat.S_ISLNK(mode) else "a pipe, a socket or a device"
    return f"{where}: {path} is {what}; name a file or a folder"
