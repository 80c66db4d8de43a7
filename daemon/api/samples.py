"""`/samples`: the list, and the files."""

import asyncio
from typing import Any

from daemon.api.keys import ROOTS, SAMPLES, THUMBNAILS
from daemon.api.models.common import NoBody, NoQuery
from daemon.api.models.samples import SampleInfo, SampleList, SampleQuery, ThumbnailQuery
from daemon.api.open_file import OpenFile
from daemon.api.registry import Call, Route
from daemon.api.sample_file import SampleFile, open_sample
from daemon.api.sample_list import shown, wanted_by
from daemon.api.thumbnail_file import ThumbnailAnswer
from daemon.errors import ForbiddenError, InvalidError, NotFoundError, UnavailableError, UnsupportedError
from daemon.samples.index import page_of_folder
from daemon.samples.selection import Place


async def list_samples(call: Call[NoBody, SampleQuery]) -> SampleList:
    query, wanted = call.query, wanted_by(call.query)
    before = Place.decode(query.cursor) if query.cursor else None
    if query.samples_dir:
        folder = await asyncio.to_thread(call[ROOTS].resolve, query.samples_dir, "samples_dir")
        page = await asyncio.to_thread(page_of_folder, folder, query.limit, wanted, before, call[ROOTS])
    else:
        page = await call[SAMPLES].samples(query.limit, wanted, before)
    samples = [SampleInfo.model_validate(one) for one in await asyncio.to_thread(shown, page.samples)]
    return SampleList(samples=samples, count=len(samples), next=page.next)


async def _open(call: Call[Any, Any]) -> OpenFile:
    """The sample; to a viewer only where runs draw: an id is a path, and the roots hold more pictures than these."""
    folders = None if call.is_admin else call[SAMPLES].sample_folders()
    return await asyncio.to_thread(open_sample, call.path["sample_id"], call[ROOTS], folders)


async def get_sample(call: Call[NoBody, NoQuery]) -> SampleFile:
    return SampleFile(await _open(call))


async def get_thumbnail(call: Call[NoBody, ThumbnailQuery]) -> ThumbnailAnswer:
    sample = await _open(call)
    made = await call[THUMBNAILS].get(sample.fd, sample.media, call.query.size, call.query.format)
    return ThumbnailAnswer(made, call.request)


ROUTES = [
    Route(
        "GET", "/samples", list_samples, "Samples, newest first", "samples",
        errors=(InvalidError, ForbiddenError), seed=True, role="viewer",
    ),
    Route(
        "GET", "/samples/{sample_id}", get_sample, "A sample's file", "samples",
        errors=(NotFoundError, ForbiddenError), seed=True, role="viewer", media_type="*/*",
    ),
    Route(
        "GET", "/samples/{sample_id}/thumbnail", get_thumbnail, "A small picture of a sample", "samples",
        errors=(NotFoundError, ForbiddenError, UnsupportedError, UnavailableError), role="viewer", media_type="image/*",
    ),
]  # fmt: skip
