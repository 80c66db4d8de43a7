"""Open a file that a client may have, without following links, and send what is open: with Range and conditional requests.

Which file may be had is for the rooms that call this: `sample_file` and `model_file`.
"""

import os
import re
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from daemon.paths import Roots

_ONE_RANGE = re.compile(r"bytes=(\d+-\d*|-\d+)")
HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    # What is opened in a tab of its own can run nothing and reach nothing, were it not the image that it says it is.
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-cache",
}


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file inside the roots. Who has it closes *fd*."""

    fd: int
    name: str
    media: str


def open_inside(path: Path, roots: Roots, *, folder: bool = False) -> int | None:
    """A descriptor of the regular file (or *folder*) at *path*, which has passed `Roots.resolve`; None where there is none. Blocks.

    Raises:
        PermissionError: the daemon's user may not read it.
    """
    try:
        return roots.open_folder(path) if folder else roots.open_file(path)
    except PermissionError:
        raise
    except (OSError, ValueError):
        return None


def disposition(kind: Literal["inline", "attachment"], name: str) -> str:
    """A Content-Disposition for a file of any *name* (RFC 6266)."""
    return f"{kind}; filename=\"{_ascii(name)}\"; filename*=UTF-8''{quote(name, safe='')}"


class FileAnswer(web.FileResponse):
    """aiohttp's response for files, on a file that is open already: it opens /proc/self/fd/N, which is the same file.

    Answers 200, 206, 304, 412 or 416; the last two without a body. Of Range it takes one range of bytes; any other is ignored, as
    RFC 9110, 14.2 allows, and so is one whose If-Range names another version (aiohttp reads dates there, no entity tags).
    """

    def __init__(self, file: OpenFile, kind: Literal["inline", "attachment"]) -> None:
        super().__init__(f"/proc/self/fd/{file.fd}", headers={**HEADERS, "Content-Disposition": disposition(kind, file.name)})
        self.content_type = file.media
        self._fd = file.fd
        self._close = weakref.finalize(self, os.close, file.fd)  # also when it is never sent, since the client has gone

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        try:
            return await super().prepare(self._without_foreign_range(request))
        finally:
            self._close()

    def _without_foreign_range(self, request: web.BaseRequest) -> web.BaseRequest:
        wanted, version = request.headers.get(hdrs.RANGE), request.headers.get(hdrs.IF_RANGE)
        if wanted is None:
            return request
        status = os.fstat(self._fd)
        other = version is not None and '"' in version and version != f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        if request.method == "GET" and not other and _ONE_RANGE.fullmatch(wanted.strip()):
            return request
        return request.clone(headers={name: value for name, value in request.headers.items() if name.lower() not in {"range", "if-range"}})


def _ascii(name: str) -> str:
    return re.sub(r'[^ -~]|["\\%]', "_", name)
