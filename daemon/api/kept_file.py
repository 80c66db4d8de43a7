"""Serve what a run has kept: a save or the final model as a file, a backup, or a model that is a folder, as a tar archive."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web

from daemon.api.open_file import HEADERS, FileAnswer, OpenFile, disposition, open_inside
from daemon.errors import ConflictError, ForbiddenError, NotFoundError
from daemon.files import tar
from daemon.files.backups import progress_of
from daemon.files.models import is_whole_model
from daemon.paths import Roots


def open_model(path: Path, roots: Roots) -> OpenFile:
    """The model at *path*, a file or a folder: media tells which. A link in the last place is not followed. Blocks on the disk.

    Raises:
        NotFoundError: there is none (code `no_model`).
        ConflictError: it is being written, or was cut short (code `not_whole`).
        ForbiddenError: it lies outside the roots, or the daemon's user may not read it.
    """
    opened = _open(path, roots, "model")
    if opened is None:
        raise NotFoundError(f"there is no model {path.name!r}; GET /runs/{{run_id}}/backups lists what there is", code="no_model")
    if is_whole_model(path) is False:
        os.close(opened.fd)
        raise ConflictError(f"the model {path.name!r} is not whole: it is being written, or was cut short", code="not_whole")
    return opened


def open_backup(path: Path, roots: Roots) -> OpenFile:
    """The backup at *path*. Blocks on the disk; raises as `open_model`, with the codes `no_backup` and `backup_not_whole`."""
    opened = _open(path, roots, "backup")
    if opened is None or opened.media != TAR:
        if opened:
            os.close(opened.fd)
        raise NotFoundError(f"there is no backup {path.name!r}; GET /runs/{{run_id}}/backups lists what there is", code="no_backup")
    if progress_of(path) is None:
        os.close(opened.fd)
        raise ConflictError(f"the backup {path.name!r} is not whole: it is being written, or was cut short", code="backup_not_whole")
    return opened


TAR = "application/x-tar"


def _open(path: Path, roots: Roots, key: str) -> OpenFile | None:
    place = roots.resolve(str(path.parent), key, hidden=True) / path.name
    try:
        if (fd := open_inside(place, roots)) is not None:
            return OpenFile(fd, path.name, "application/octet-stream")
        if (fd := open_inside(place, roots, folder=True)) is not None:
            return OpenFile(fd, path.name, TAR)
    except PermissionError as error:
        raise ForbiddenError(f"{place} may not be read by the daemon's user", code="unreadable") from error
    return None


async def answer(opened: OpenFile, request: web.Request) -> web.StreamResponse:
    """A file with Range and ETag, a folder as an archive from its beginning. Closes it."""
    return await _send_folder(opened, request) if opened.media == TAR else FileAnswer(opened, "attachment")


async def _send_folder(folder: OpenFile, request: web.Request) -> web.StreamResponse:
    try:
        archive = await asyncio.to_thread(tar.members, folder.fd, folder.name)
        response = web.StreamResponse(headers={**HEADERS, "Content-Disposition": disposition("attachment", f"{folder.name}.tar")})
        response.content_type, response.content_length = TAR, tar.length_of(archive)
        await response.prepare(request)
        if request.method == "GET":
            with contextlib.closing(tar.stream(folder.fd, archive)) as chunks:
                while chunk := await _in_thread(chunks):
                    await response.write(chunk)
        await response.write_eof()
        return response
    finally:
        os.close(folder.fd)


async def _in_thread(chunks: Iterator[bytes]) -> bytes:
    """The next chunk, empty at the end. When we are cancelled, the thread is waited for: it reads from descriptors that we close."""
    reading = asyncio.ensure_future(asyncio.to_thread(next, chunks, b""))
    try:
        return await asyncio.shield(reading)
    finally:
        if not reading.done():
            await asyncio.wait([reading])
