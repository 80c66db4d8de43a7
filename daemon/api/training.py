"""`/training`: the seed's view of the current run, and `/ws`."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web
from pydantic import Field

from daemon.api.feed import Feed, read_cursor
from daemon.api.idempotency import once
from daemon.api.keys import INTAKE, ROOTS, SOCKETS, SUPERVISOR
from daemon.api.models.common import Health, NoBody, NoQuery, QueryModel, Success
from daemon.api.models.runs import PauseRequest, StopRequest
from daemon.api.models.samples import SampleGenerateRequest
from daemon.api.models.training import Progress, ProgressResponse, StartRequest, Status
from daemon.api.registry import Call, Route
from daemon.api.runs import ordered, overrides_of, paused, sampled
from daemon.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, UnavailableError, UnsupportedError
from daemon.runs import seed
from daemon.supervisor.intake import Order
from daemon.supervisor.live import LiveRun


class StreamQuery(QueryModel):
    cursor: str | None = Field(default=None, max_length=4096, description="That of the last message heard: it goes on from there.")


async def start(call: Call[StartRequest, NoQuery]) -> Success:
    body = call.body
    order = Order(body.config_path or None, body.config, body.secrets_path, force=body.force, overrides=overrides_of(body))

    async def make(idempotency: Mapping[str, str] | None) -> LiveRun:
        spec = await asyncio.to_thread(call[INTAKE].spec, replace(order, idempotency=idempotency))
        run = await call[SUPERVISOR].start_now(spec)
        await asyncio.to_thread(call[INTAKE].began, order, spec)
        return run

    run = await once(call, make)
    if run.view.cause == "start_failed":  # that is what the first call was told
        raise UnavailableError(f"run {run.run_id} could not be started: {run.view.error}", code="start_failed", run_id=run.run_id)
    return Success(message="Training started successfully")


async def stop(call: Call[StopRequest, NoQuery]) -> Success:
    await call[SUPERVISOR].stop(_working(call), **call.body.model_dump())
    return Success(message="Stop command sent")


async def pause(call: Call[PauseRequest, NoQuery]) -> Success:
    return await paused(_working(call), call.body.mode)


async def resume(call: Call[NoBody, NoQuery]) -> Success:
    await call[SUPERVISOR].resume(_working(call))
    return Success(message="Training resumed")


async def sample(call: Call[NoBody, NoQuery]) -> Success:
    return await ordered(_working(call), "sample")


async def backup(call: Call[NoBody, NoQuery]) -> Success:
    return await ordered(_working(call), "backup")


async def save(call: Call[NoBody, NoQuery]) -> Success:
    return await ordered(_working(call), "save")


def _working(call: Call[Any, Any]) -> LiveRun:
    run = call[SUPERVISOR].working()
    call.concerns(run.run_id)
    return run


async def status(call: Call[NoBody, NoQuery]) -> Status:
    return Status.model_validate(seed.state(call[SUPERVISOR].current_view()))


async def progress(call: Call[NoBody, NoQuery]) -> ProgressResponse:
    state = seed.state(call[SUPERVISOR].current_view())
    counters = Progress.model_validate(state["progress"]) if state["progress"] else None
    return ProgressResponse(progress=counters, max_step=state["max_step"], max_epoch=state["max_epoch"])


async def generate(call: Call[SampleGenerateRequest, NoQuery]) -> Success:
    return await sampled(_working(call), call.body, call[ROOTS])


async def generate_default(call: Call[NoBody, NoQuery]) -> Success:
    await _working(call).send("sample")
    return Success(message="Default sample generation requested")


async def stream(call: Call[NoBody, StreamQuery]) -> web.WebSocketResponse:
    feed = Feed(call[SUPERVISOR], read_cursor(call.query.cursor, call[SUPERVISOR]) if call.query.cursor else None)
    return await call[SOCKETS].serve(call.request, feed, call[SUPERVISOR].bell)


async def health(call: Call[NoBody, NoQuery]) -> Health:
    state = seed.state(call[SUPERVISOR].current_view())
    return Health(training_active=state["is_training"], trainer_status=state["status"], disk=call[SUPERVISOR].disk_level)


_ORDER_ERRORS = (ConflictError, UnsupportedError, UnavailableError)
_START_ERRORS = (InvalidError, NotFoundError, ForbiddenError, ConflictError, UnavailableError)

ROUTES = [
    Route(
        "POST", "/training/start", start, "Start training with a config file", "training",
        errors=_START_ERRORS, seed=True, is_once=True,
    ),
    Route("POST", "/training/stop", stop, "Stop the training", "training", errors=_ORDER_ERRORS, seed=True),
    Route("POST", "/training/pause", pause, "Pause the training", "training", errors=_ORDER_ERRORS, seed=True),
    Route("POST", "/training/resume", resume, "Resume the training", "training", errors=_ORDER_ERRORS, seed=True),
    Route("POST", "/training/sample", sample, "Draw the config's samples now", "training", errors=_ORDER_ERRORS, seed=True),
    Route("POST", "/training/backup", backup, "Write a backup now", "training", errors=_ORDER_ERRORS, seed=True),
    Route("POST", "/training/save", save, "Save the model now", "training", errors=_ORDER_ERRORS, seed=True),
    Route("GET", "/training/status", status, "What the training is doing", "training", seed=True, role="viewer"),
    Route("GET", "/training/progress", progress, "How far the training is", "training", seed=True, role="viewer"),
    Route("POST", "/samples/generate", generate, "Draw a sample of one's own", "samples", errors=_ORDER_ERRORS, seed=True),
    Route("POST", "/samples/generate/default", generate_default, "Draw the config's samples", "samples", errors=_ORDER_ERRORS, seed=True),
    Route(
        "GET", "/ws", stream, "The WebSocket of live messages", "stream",
        errors=(InvalidError,), seed=True, role="viewer", is_stream=True,
    ),
    Route("GET", "/health", health, "Whether the daemon is alive", "system", public=True, seed=True, role="viewer"),
]  # fmt: skip
