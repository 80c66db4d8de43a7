"""`/runs/{id}/metrics`: the scalars of one run, as JSON for a chart or as CSV."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace

from aiohttp import web

from daemon.api.keys import SCALARS, SUPERVISOR
from daemon.api.models.common import NoBody, NoQuery
from daemon.api.models.run_metrics import MetricPoint, Metrics, MetricsQuery, MetricTag, MetricTags
from daemon.api.registry import Call, Route
from daemon.api.rendering import HEADERS
from daemon.errors import InvalidError, NotFoundError, UnavailableError
from daemon.scalars.query import NO_STEP, Query
from ipc.messages import number_to_json

_SEND_S = 30.0
_DEFAULT_POINTS = 1000


async def get_metrics(call: Call[NoBody, MetricsQuery]) -> web.StreamResponse:
    run = call[SUPERVISOR].run(call.path["run_id"])
    pieces = call[SCALARS].answer(run.directory, _asked(call.query, run.run_id))
    async with contextlib.aclosing(pieces):
        if call.query.format == "csv":
            return await _stream(call.request, pieces, f"{run.run_id}.csv")
        body = b"".join([piece async for piece in pieces])
    return web.Response(body=body, content_type="application/json", headers=HEADERS)


async def list_tags(call: Call[NoBody, NoQuery]) -> MetricTags:
    found, is_complete = await call[SCALARS].overview(call[SUPERVISOR].run(call.path["run_id"]).directory)
    tags = [
        MetricTag(
            tag=one.tag, attempt=one.attempt, count=one.count, first_step=one.first_step,
            last=MetricPoint.model_validate(
                {"global_step": one.last.steps[0], "time": one.last.times[0], "value": number_to_json(one.last.values[0])}
            ),
        )
        for one in found
    ]  # fmt: skip
    return MetricTags(tags=tags, count=len(tags), is_complete=is_complete)


def _asked(query: MetricsQuery, run_id: str) -> Query:
    """Raises InvalidError (code `bad_cursor`)."""
    points = query.max_points or (_DEFAULT_POINTS if query.format == "json" else None)
    asked = Query(query.tags, until=NO_STEP if query.until is None else query.until, max_points=points)
    asked = replace(asked, merged=query.merged, form=query.format)
    return asked.since(query.since, run_id) if query.since else asked


async def _stream(request: web.Request, pieces: AsyncGenerator[bytes], filename: str) -> web.StreamResponse:
    """Send *pieces* as they come; complete exactly when the last chunk says so. Raises ConnectionError for a client that does not read."""
    first = await anext(pieces)  # what is wrong with the question is told before the answer begins
    response = web.StreamResponse(headers={**HEADERS, "Content-Disposition": f'attachment; filename="{filename}"'})
    response.content_type, response.charset = "text/csv", "utf-8"
    await response.prepare(request)
    if request.method != "HEAD":
        await _send(response, first)
        async for piece in pieces:
            await _send(response, piece)
    await response.write_eof()
    return response


async def _send(response: web.StreamResponse, piece: bytes) -> None:
    try:
        async with asyncio.timeout(_SEND_S):
            await response.write(piece)
    except TimeoutError as error:
        raise ConnectionResetError(f"the client has not read for {_SEND_S:g} s") from error


_ERRORS = (NotFoundError, InvalidError, UnavailableError)

ROUTES = [
    Route(
        "GET", "/runs/{run_id}/metrics", get_metrics, "A run's scalars by step, thinned out for a chart", "runs",
        errors=_ERRORS, role="viewer", media_type="text/csv", json_model=Metrics,
    ),
    Route(
        "GET", "/runs/{run_id}/metrics/tags", list_tags, "Which scalars a run has, how many, and the last of each", "runs",
        errors=_ERRORS, role="viewer",
    ),
]  # fmt: skip
