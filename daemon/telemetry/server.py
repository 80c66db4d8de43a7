"""The daemon itself: its clients, its requests, its log, its settings."""

import platform
from collections.abc import Mapping
from pathlib import Path

from daemon.access.tls import ServerTls
from daemon.settings.reloading import Reloader
from daemon.telemetry.requests import RequestMeter
from daemon.telemetry.sheet import Sheet
from ipc import __version__

_TASKS = Path("/proc/self/task")
"""Of all threads: Python's own count knows nothing of those that a library has started."""


def fill_requests(meter: RequestMeter, sheet: Sheet) -> None:
    for (method, route, status), count in meter.counts.items():
        sheet.tell("http_requests", count, method=method, route=route, status=status)
    for (method, route), durations in meter.durations.items():
        sheet.tell_distribution("http_request_duration_seconds", durations.cumulative(), durations.total_s, method=method, route=route)


def fill_log(counts: Mapping[str, int], sheet: Sheet) -> None:
    for level, count in counts.items():
        sheet.tell("log_records", count, level=level)


def fill_reloads(reloader: Reloader, sheet: Sheet) -> None:
    sheet.tell("settings_reloads", reloader.succeeded, outcome="succeeded")
    sheet.tell("settings_reloads", reloader.failed, outcome="failed")
    sheet.tell("settings_last_reload_successful", int(reloader.is_last_good))
    sheet.tell("settings_changed_timestamp_seconds", reloader.changed_at)


def fill_certificate(tls: ServerTls, sheet: Sheet) -> None:
    sheet.tell("tls_certificate_expiry_timestamp_seconds", tls.expires)


def fill_build(backend: str, sheet: Sheet) -> None:
    sheet.tell("build_info", 1, version=__version__, python=platform.python_version(), backend=backend)
    sheet.tell("threads", len(list(_TASKS.iterdir())))
