"""Serve one sample: checked, opened without following links, sent by aiohttp with Range and conditional requests."""

import os
import re
import weakref
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

from daemon.errors import ForbiddenError, NotFoundError
from daemon.paths import Roots
from daemon.samples.formats import is_whole, media_type
from daemon.samples.names import display, path_of

_ONE_RANGE = re.compile(r"bytes=(\d+-\d*|-\d+)")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # What is opened in a tab of its own can run nothing and reach nothing, were it not the image that it says it is.
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-cache",
}


@dataclass(frozen=True, slots=True)
class OpenSample:
    """A whole sample. Who has it closes *fd*."""

    fd: int
    name: str
    media: str


def open_sample(identifier: str, roots: Roots) -> OpenSample:
    """Open the sample with that id. Blocks on the disk.

    Raises:
        NotFoundError: no such file, not a sample by its extension, or not yet whole (code `no_sample`).
        ForbiddenError: it lies outside the roots, links resolved, or the daemon's user may not read it.
    """
    path = roots.resolve(str(path_of(identifier)), "sample")
    media = media_type(path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC) if media else -1
    except PermissionError as error:
        raise ForbiddenError(f"the sample {display(str(path))} may not be read by the daemon's user", code="unreadable") from error
    except OSError:
        fd = -1
    if fd < 0 or media is None:
        raise _no_sample(path)
    try:
        # A folder on the way may have become a link since it was resolved: what counts is where the open file is.
        if not roots.contains(Path(os.readlink(f"/proc/self/fd/{fd}"))) or not is_whole(fd, media):  # noqa: PTH115 - a magic link
            raise _no_sample(path)
    except BaseException:
        os.close(fd)
        raise
    return OpenSample(fd, display(path.name), media)


class SampleFile(web.FileResponse):
    """aiohttp's response for files, on a file that is open already: it opens /proc/self/fd/N, which is the same file.

    Answers 200, 206, 304, 412 or 416; the last two without a body. Of Range it takes one range of bytes; any other is ignored, as
    RFC 9110, 14.2 allows, and so is one whose If-Range names another version (aiohttp reads dates there, no entity tags).
    """

    def __init__(self, sample: OpenSample) -> None:
        disposition = f"inline; filename=\"{_ascii(sample.name)}\"; filename*=UTF-8''{quote(sample.name, safe='')}"
        super().__init__(f"/proc/self/fd/{sample.fd}", headers={**_HEADERS, "Content-Disposition": disposition})
        self.content_type = sample.media
        self._fd = sample.fd
        self._close = weakref.finalize(self, os.close, sample.fd)  # also when it is never sent, since the client has gone

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


def _no_sample(path: Path) -> NotFoundError:
    return NotFoundError(f"there is no whole sample {display(str(path))}; take ids from GET /samples", code="no_sample")


def _ascii(name: str) -> str:
    return re.sub(r'[^ -~]|["\\%]', "_", name)
