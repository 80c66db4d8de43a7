"""`/runs/{id}/log`, `/samples`, `/backups`, `/config`: what one run has left in files."""

import asyncio
import re
import time
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from aiohttp import web

from daemon.api.kept_file import answer, open_backup, open_model
from daemon.api.keys import LOGS, ROOTS, SUPERVISOR
from daemon.api.log_stream import LogStream
from daemon.api.models.common import NoBody, NoQuery, Success
from daemon.api.models.run_files import (
    BackupInfo,
    BackupList,
    BackupsQuery,
    LogQuery,
    RunConfig,
    RunSample,
    RunSampleList,
    SaveInfo,
)
from daemon.api.models.samples import SampleFilter
from daemon.api.registry import Call, Route
from daemon.api.sample_list import shown, wanted_by
from daemon.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, UnavailableError
from daemon.files.backups import BACKUPS, SAVES, Kept
from daemon.supervisor.console_feed import ConsoleFeed
from daemon.supervisor.leavings import config_of, found_samples, kept_files, kept_path, model_of, remove_backup


async def get_log(call: Call[NoBody, LogQuery]) -> LogStream:
    run = call[SUPERVISOR].run(call.path["run_id"])
    feed = ConsoleFeed(run, tail=call.query.tail, attempt=call.query.attempt, follow=call.query.follow)
    return await call[LOGS].serve(call.request, feed, call[SUPERVISOR].bell)


async def list_run_samples(call: Call[NoBody, SampleFilter]) -> RunSampleList:
    run = call[SUPERVISOR].run(call.path["run_id"])
    before = _number(call.query.cursor) if call.query.cursor else None
    found, after = await asyncio.to_thread(found_samples, run.directory, call.query.limit, wanted_by(call.query), before)
    rows = await asyncio.to_thread(shown, [one.info for one in found])
    samples = [RunSample.model_validate({**row, "exists": one.exists}) for row, one in zip(rows, found, strict=True)]
    return RunSampleList(samples=samples, count=len(samples), next=None if after is None else str(after))


async def list_backups(call: Call[NoBody, BackupsQuery]) -> BackupList:
    run = call[SUPERVISOR].run(call.path["run_id"])
    kept = await asyncio.to_thread(kept_files, run.view, run.directory, call.query.limit)
    base = f"/runs/{run.run_id}"
    backups = [BackupInfo.model_validate(_shown(one, f"{base}/backups/{quote(one.name)}")) for one in kept.backups]
    saves = [SaveInfo.model_validate(_shown(one, f"{base}/saves/{quote(one.name)}")) for one in kept.saves]
    model = SaveInfo.model_validate(_shown(kept.model, f"{base}/model")) if kept.model else None
    return BackupList(backups=backups, saves=saves, model=model, count=len(backups))


async def get_backup(call: Call[NoBody, NoQuery]) -> web.StreamResponse:
    path = kept_path(call[SUPERVISOR].run(call.path["run_id"]).view, BACKUPS, call.path["name"])
    return await answer(await asyncio.to_thread(open_backup, path, call[ROOTS]), call.request)


async def delete_backup(call: Call[NoBody, NoQuery]) -> Success:
    path = kept_path(call[SUPERVISOR].run(call.path["run_id"]).view, BACKUPS, call.path["name"])
    call[SUPERVISOR].refuse_while_needed(path)
    await asyncio.to_thread(remove_backup, path, call[ROOTS])
    return Success(message=f"Backup {path.name!r} deleted")


async def get_save(call: Call[NoBody, NoQuery]) -> web.StreamResponse:
    path = kept_path(call[SUPERVISOR].run(call.path["run_id"]).view, SAVES, call.path["name"])
    return await answer(await asyncio.to_thread(open_model, path, call[ROOTS]), call.request)


async def get_model(call: Call[NoBody, NoQuery]) -> web.StreamResponse:
    path = model_of(call[SUPERVISOR].run(call.path["run_id"]).view)
    return await answer(await asyncio.to_thread(open_model, path, call[ROOTS]), call.request)


async def get_run_config(call: Call[NoBody, NoQuery]) -> RunConfig:
    run = call[SUPERVISOR].run(call.path["run_id"])
    return RunConfig.model_validate(await asyncio.to_thread(config_of, run.directory))


def _number(cursor: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", cursor, re.ASCII):
        raise InvalidError(f"cursor: {cursor[:100]!r} is none; take it from `next` of an earlier answer", code="bad_cursor")
    return int(cursor)


def _shown(one: Kept, url: str) -> dict[str, Any]:
    return {**asdict(one), "age_s": round(max(0.0, time.time() - one.created), 3), "url": url}


_READ_ERRORS = (NotFoundError, InvalidError)
_FILE_ERRORS = (NotFoundError, InvalidError, ForbiddenError, ConflictError)

ROUTES = [
    Route(
        "GET", "/runs/{run_id}/log", get_log, "The trainer's console", "runs",
        errors=_READ_ERRORS, role="viewer", media_type="text/plain", is_stream=True,
    ),
    Route("GET", "/runs/{run_id}/samples", list_run_samples, "A run's samples, newest first", "runs", errors=_READ_ERRORS, role="viewer"),
    Route(
        "GET", "/runs/{run_id}/backups", list_backups, "Backups and saves in a run's workspace", "runs",
        errors=_READ_ERRORS, role="viewer",
    ),
    Route(
        "GET", "/runs/{run_id}/backups/{name}", get_backup, "A backup as a tar archive", "runs",
        errors=_FILE_ERRORS, media_type="application/x-tar", is_stream=True,
    ),
    Route(
        "DELETE", "/runs/{run_id}/backups/{name}", delete_backup, "Delete a backup that no run needs", "runs",
        errors=(*_FILE_ERRORS, UnavailableError),
    ),
    Route(
        "GET", "/runs/{run_id}/saves/{name}", get_save, "A saved model's file; a folder as a tar archive", "runs",
        errors=_FILE_ERRORS, media_type="application/octet-stream", is_stream=True,
    ),
    Route(
        "GET", "/runs/{run_id}/model", get_model, "The final model's file; a folder as a tar archive", "runs",
        errors=_FILE_ERRORS, media_type="application/octet-stream", is_stream=True,
    ),
    Route(
        "GET", "/runs/{run_id}/config", get_run_config, "What the trainer was given, and what it made of it", "runs",
        errors=(NotFoundError,), role="viewer",
    ),
]  # fmt: skip
