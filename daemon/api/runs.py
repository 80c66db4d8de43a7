"""`/runs`: every run, by its id. Thin: the supervisor knows how."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import asdict, replace

from daemon.api.feed import read_cursor
from daemon.api.idempotency import once
from daemon.api.keys import INTAKE, ROOTS, SUPERVISOR
from daemon.api.models.common import NoBody, NoQuery, Success
from daemon.api.models.runs import (
    Events,
    EventsQuery,
    OverrideFields,
    PauseRequest,
    Restart,
    Run,
    RunProgress,
    RunRequest,
    Runs,
    SampleRequest,
    Stall,
    StopRequest,
)
from daemon.api.models.samples import SampleGenerateRequest
from daemon.api.registry import Call, Route
from daemon.config.composing import Overrides
from daemon.config.config_paths import refuse_sample
from daemon.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, UnavailableError, UnsupportedError
from daemon.paths import Roots
from daemon.runs.spot import Cursor, Mark, bad_cursor
from daemon.runs.view import RunView
from daemon.supervisor.intake import Order
from daemon.supervisor.leavings import config_of
from daemon.supervisor.live import LiveRun


async def list_runs(call: Call[NoBody, NoQuery]) -> Runs:
    runs = [shown(run) for run in call[SUPERVISOR].runs()]
    return Runs(runs=runs, count=len(runs))


async def get_run(call: Call[NoBody, NoQuery]) -> Run:
    return shown(call[SUPERVISOR].run(call.path["run_id"]))


async def create_run(call: Call[RunRequest, NoQuery]) -> Run:
    body = call.body
    order = Order(
        body.config_path, body.config, body.secrets_path, body.name, body.continue_from, force=body.force,
        restart=body.restart.model_dump(exclude_none=True) if body.restart else {},
        stall=body.stall.model_dump(exclude_none=True) if body.stall else {}, overrides=overrides_of(body),
    )  # fmt: skip

    async def make(idempotency: Mapping[str, str] | None) -> LiveRun:
        spec = await asyncio.to_thread(call[INTAKE].spec, replace(order, idempotency=idempotency))
        run = call[SUPERVISOR].submit(spec)
        await asyncio.to_thread(call[INTAKE].began, order, spec)
        return run

    return shown(await once(call, make))


def overrides_of(body: OverrideFields) -> Overrides:
    return Overrides(body.preset, body.config_values or (), body.concepts, body.samples)


async def get_events(call: Call[NoBody, EventsQuery]) -> Events:
    run = call[SUPERVISOR].run(call.path["run_id"])
    mark = _mark_of(run, read_cursor(call.query.since, call[SUPERVISOR])) if call.query.since else Mark()
    entries = await asyncio.to_thread(run.history.read_from, mark.spot, call.query.limit)
    end = entries[-1].spot if entries else mark.spot
    cursor = Cursor(run.run_id, {run.run_id: Mark(end)})
    return Events(events=[entry.record for entry in entries], count=len(entries), next=cursor.encode())


def _mark_of(run: LiveRun, cursor: Cursor) -> Mark:
    if run.run_id not in cursor.marks:
        raise bad_cursor(f"it is from other runs, and says nothing of how far run {run.run_id} has been read")
    return cursor.marks[run.run_id]


async def stop_run(call: Call[StopRequest, NoQuery]) -> Success:
    await call[SUPERVISOR].stop(call[SUPERVISOR].run(call.path["run_id"]), **call.body.model_dump())
    return Success(message="Stop command sent")


async def pause_run(call: Call[PauseRequest, NoQuery]) -> Success:
    return await paused(call[SUPERVISOR].run(call.path["run_id"]), call.body.mode)


async def resume_run(call: Call[NoBody, NoQuery]) -> Success:
    await call[SUPERVISOR].resume(call[SUPERVISOR].run(call.path["run_id"]))
    return Success(message="Training resumed")


async def backup_run(call: Call[NoBody, NoQuery]) -> Success:
    return await ordered(call[SUPERVISOR].run(call.path["run_id"]), "backup")


async def save_run(call: Call[NoBody, NoQuery]) -> Success:
    return await ordered(call[SUPERVISOR].run(call.path["run_id"]), "save")


async def sample_run(call: Call[SampleRequest, NoQuery]) -> Success:
    run = call[SUPERVISOR].run(call.path["run_id"])
    return await sampled(run, call.body.sample, call[ROOTS])


async def ordered(run: LiveRun, command: str) -> Success:
    """Send a command that has no arguments; it is accepted when this returns, and perhaps done."""
    await run.send(command)
    return Success(message=f"{command.capitalize()} command sent")


async def sampled(run: LiveRun, sample: SampleGenerateRequest | None, roots: Roots) -> Success:
    """Draw *sample*, or the config's own. Where its prompt is the path of a picture, as in training a VAE, it lies in the roots."""
    if sample is not None:
        await asyncio.to_thread(_refuse, sample, run, roots)
    await run.send("sample", {"sample": sample.model_dump()} if sample is not None else {})
    return Success(message="Sample generation requested")


def _refuse(sample: SampleGenerateRequest, run: LiveRun, roots: Roots) -> None:
    with contextlib.suppress(NotFoundError):  # without its config.json nobody knows what it trains
        known = config_of(run.directory)
        refuse_sample(sample.model_dump(), known.effective or known.config, roots)


async def paused(run: LiveRun, mode: str) -> Success:
    done = await run.send("pause", {"mode": mode}, settle_s=2.0)
    return Success(message="Training paused" if done else "Pause command sent; it takes effect after the present step")


def shown(run: LiveRun) -> Run:
    view: RunView = run.view
    progress = RunProgress.model_validate(view.progress) if view.progress else None
    fields = {name: getattr(view, name) for name in Run.model_fields if hasattr(view, name)}
    meta = run.stored.meta
    fields |= {
        "id": run.run_id,
        "name": meta.get("name"),
        "config_path": meta.get("config_path"),
        "preset": meta.get("preset"),
        "progress": progress,
    }
    fields |= {"restart": Restart.model_validate(asdict(view.restart)), "stall": Stall.model_validate(view.stall)}
    return Run(**fields | {"capabilities": list(view.capabilities)})


_ORDER_ERRORS = (NotFoundError, ConflictError, UnsupportedError, UnavailableError)

ROUTES = [
    Route("GET", "/runs", list_runs, "All runs, newest first", "runs", role="viewer"),
    Route(
        "POST", "/runs", create_run, "Queue a run", "runs",
        errors=(InvalidError, NotFoundError, ForbiddenError, ConflictError, UnavailableError), status=201, is_once=True,
    ),
    Route("GET", "/runs/{run_id}", get_run, "One run", "runs", errors=(NotFoundError,), role="viewer"),
    Route(
        "GET", "/runs/{run_id}/events", get_events, "A run's history, from a cursor on", "runs",
        errors=(NotFoundError, InvalidError), role="viewer",
    ),
    Route("POST", "/runs/{run_id}/stop", stop_run, "Stop a run, or take it out of the queue", "runs", errors=_ORDER_ERRORS),
    Route("POST", "/runs/{run_id}/pause", pause_run, "Hold or release a training", "runs", errors=_ORDER_ERRORS),
    Route("POST", "/runs/{run_id}/resume", resume_run, "Go on with a held or released training", "runs", errors=_ORDER_ERRORS),
    Route("POST", "/runs/{run_id}/backup", backup_run, "Write a backup now", "runs", errors=_ORDER_ERRORS),
    Route("POST", "/runs/{run_id}/save", save_run, "Save the model now", "runs", errors=_ORDER_ERRORS),
    Route("POST", "/runs/{run_id}/sample", sample_run, "Draw samples now", "runs", errors=(*_ORDER_ERRORS, ForbiddenError)),
]  # fmt: skip
