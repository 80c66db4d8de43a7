"""`/runs/{id}/log`, `/samples`, `/backups`, `/config`: what one run has left in files."""

import asyncio

from daemon.api.keys import LOGS, SUPERVISOR
from daemon.api.log_stream import LogStream
from daemon.api.models.common import NoBody, NoQuery
from daemon.api.models.run_files import (
    BackupInfo,
    BackupList,
    BackupsQuery,
    LogQuery,
    RunConfig,
    RunSample,
    RunSampleList,
    RunSamplesQuery,
    SaveInfo,
)
from daemon.api.registry import Call, Route
from daemon.errors import InvalidError, NotFoundError
from daemon.supervisor.console_feed import ConsoleFeed
from daemon.supervisor.leavings import config_of, found_samples, kept_files


async def get_log(call: Call[NoBody, LogQuery]) -> LogStream:
    run = call[SUPERVISOR].run(call.path["run_id"])
    feed = ConsoleFeed(run, tail=call.query.tail, attempt=call.query.attempt, follow=call.query.follow)
    return await call[LOGS].serve(call.request, feed, call[SUPERVISOR].bell)


async def list_run_samples(call: Call[NoBody, RunSamplesQuery]) -> RunSampleList:
    run = call[SUPERVISOR].run(call.path["run_id"])
    found = await asyncio.to_thread(found_samples, run.directory, call.query.limit)
    return RunSampleList(samples=[RunSample(**one.info.to_json(), exists=one.exists) for one in found], count=len(found))


async def list_backups(call: Call[NoBody, BackupsQuery]) -> BackupList:
    run = call[SUPERVISOR].run(call.path["run_id"])
    backups, saves = await asyncio.to_thread(kept_files, run.view, run.directory, call.query.limit)
    return BackupList(
        backups=[BackupInfo.model_validate(one) for one in backups],
        saves=[SaveInfo.model_validate(one) for one in saves],
        count=len(backups),
    )


async def get_run_config(call: Call[NoBody, NoQuery]) -> RunConfig:
    run = call[SUPERVISOR].run(call.path["run_id"])
    return RunConfig.model_validate(await asyncio.to_thread(config_of, run.directory))


_READ_ERRORS = (NotFoundError, InvalidError)

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
        "GET", "/runs/{run_id}/config", get_run_config, "What the trainer was given, and what it made of it", "runs",
        errors=(NotFoundError,), role="viewer",
    ),
]  # fmt: skip
