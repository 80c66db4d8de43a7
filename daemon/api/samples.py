"""`/samples`: the list, and the files."""

import asyncio

from daemon.api.keys import ROOTS, SAMPLES
from daemon.api.models.common import NoBody, NoQuery
from daemon.api.models.samples import SampleInfo, SampleList, SampleQuery
from daemon.api.registry import Call, Route
from daemon.api.sample_file import SampleFile, open_sample
from daemon.errors import ForbiddenError, InvalidError, NotFoundError
from daemon.samples.index import list_folder


async def list_samples(call: Call[NoBody, SampleQuery]) -> SampleList:
    query = call.query
    if query.samples_dir:
        folder = await asyncio.to_thread(call[ROOTS].resolve, query.samples_dir, "samples_dir")
        found = await asyncio.to_thread(list_folder, folder, query.limit)
    else:
        found = list(await call[SAMPLES].newest(query.limit))
    return SampleList(samples=[SampleInfo.model_validate(info) for info in found], count=len(found))


async def get_sample(call: Call[NoBody, NoQuery]) -> SampleFile:
    return SampleFile(await asyncio.to_thread(open_sample, call.path["sample_id"], call[ROOTS]))


ROUTES = [
    Route(
        "GET", "/samples", list_samples, "Samples, newest first", "samples",
        errors=(InvalidError, ForbiddenError), seed=True, role="viewer",
    ),
    Route(
        "GET", "/samples/{sample_id}", get_sample, "A sample's file", "samples",
        errors=(NotFoundError, ForbiddenError), seed=True, role="viewer", media_type="*/*",
    ),
]  # fmt: skip
