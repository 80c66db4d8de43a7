"""Puts together what watches the daemon: metrics, readiness, reloads. A part of the composition root."""

import functools
import os
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from aiohttp import web

from daemon.api.keys import GPUS, LOGS, METER, READINESS, RELOADER, SETTINGS, SOCKETS, SUPERVISOR, TELEMETRY
from daemon.logs import Logs
from daemon.service.notify import Notifier
from daemon.settings.model import Settings
from daemon.settings.reloading import Reloader
from daemon.supervisor.readiness import Readiness
from daemon.system.gpu import GpuMonitor
from daemon.telemetry.loop_lag import LoopLag
from daemon.telemetry.machine import GpuCache, fill_disks
from daemon.telemetry.runs import fill_runs
from daemon.telemetry.server import fill_build, fill_log, fill_reloads, fill_requests
from daemon.telemetry.sheet import Sheet, Telemetry


def watch(app: web.Application, load: Callable[[], Settings], logs: Logs, gpus: GpuMonitor) -> list[AbstractAsyncContextManager[None]]:
    """Give *app* its `/metrics`, `/ready` and reloads; what comes back is to be entered once its other services are at work."""
    settings = app[SETTINGS].now
    app[SETTINGS].on_change(lambda to_come: functools.partial(logs.set_up, to_come.log))
    app[RELOADER] = Reloader(app[SETTINGS], load, Notifier(os.environ).reloading)
    app[READINESS] = Readiness(app[SUPERVISOR], settings.state_dir, time.monotonic)
    app[GPUS] = GpuCache(gpus)
    lag = LoopLag()
    app[TELEMETRY] = Telemetry(
        (
            functools.partial(fill_runs, app[SUPERVISOR]),
            functools.partial(fill_disks, app[SUPERVISOR]),
            functools.partial(fill_requests, app[METER]),
            functools.partial(fill_log, logs.tally.counts),
            functools.partial(fill_reloads, app[RELOADER]),
            functools.partial(fill_build, settings.chosen_backend),
            functools.partial(_fill_clients, app),
            app[GPUS].fill,
            lag.fill,
        )
    )
    return [app[GPUS].running(), app[READINESS].running(), lag.running()]


def _fill_clients(app: web.Application, sheet: Sheet) -> None:
    sheet.tell("websocket_clients", len(app[SOCKETS]))
    sheet.tell("log_streams", len(app[LOGS]))
    sheet.tell("ready", int(not app[READINESS].failed))
