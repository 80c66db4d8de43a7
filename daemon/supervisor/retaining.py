"""Removing the directories of ended runs that the retention does not keep: never a workspace, a model, or a run that may still live."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

from daemon.runs.retention import Retention, removable
from daemon.supervisor.live import LiveRun
from daemon.supervisor.store import RunStore

_LOG = logging.getLogger(__name__)


async def remove_old(runs: dict[str, LiveRun], store: RunStore, retention: Retention, now: float, current: LiveRun | None) -> list[str]:
    """Remove from the disk, and then from *runs* (oldest first), what is beyond *retention*; returns the ids of what is gone.

    *current*, which `/training/status` tells of, stays. So does a run in whose directory any run has put its workspace or its model.
    """
    gone: list[str] = []
    for run_id in removable(retention, [run.view for run in reversed(runs.values())], now):
        run = runs.get(run_id)
        if run is None or run is current or not run.is_settled:
            continue
        if any(Path(path).is_relative_to(run.directory.path) for other in runs.values() for path in _products(other)):
            _LOG.warning("run %s is not removed, though it is old: a workspace or a model lies in its directory", run_id)
            continue
        try:
            if not await asyncio.to_thread(store.remove, run.directory):
                continue
        except OSError as error:
            _LOG.error("run %s is old and cannot be removed: %s", run_id, error)
            continue
        run.close()
        del runs[run_id]
        gone.append(run_id)
        _LOG.info("run %s is removed: it is beyond retention.keep_runs or retention.keep_days", run_id)
    return gone


def _products(run: LiveRun) -> Iterator[str]:
    view = run.view
    yield from filter(None, (view.workspace_dir, view.samples_dir, view.model_path, view.last_backup))
    yield from run.stored.meta.get("writes", [])
