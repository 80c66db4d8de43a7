"""Where handlers find their services: typed keys of the application. `daemon/app.py` puts the services there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from aiohttp import web

from daemon.api.log_stream import LogStreams
from daemon.api.stream import Sockets
from daemon.catalog.keeper import Catalog
from daemon.catalog.validating import Validating
from daemon.config.comparing import Comparer
from daemon.config.current import CurrentConfig
from daemon.config.presets import Presets
from daemon.paths import Roots
from daemon.samples.selection import ALL, Page, Place, Wanted
from daemon.samples.thumbnails import Thumbnails
from daemon.scalars.keeper import ScalarKeeper
from daemon.settings.in_force import InForce
from daemon.settings.reloading import Reloader
from daemon.supervisor.intake import Intake
from daemon.supervisor.once import Once
from daemon.supervisor.readiness import Readiness
from daemon.supervisor.supervisor import Supervisor
from daemon.system.info import SystemInfo
from daemon.telemetry.machine import GpuCache
from daemon.telemetry.requests import RequestMeter
from daemon.telemetry.sheet import Telemetry


class SampleBook(Protocol):
    """The samples of all runs."""

    async def samples(self, limit: int, wanted: Wanted = ALL, before: Place | None = None) -> Page:
        """At most *limit* that are *wanted*, newest first, older than *before*."""
        ...

    def sample_folders(self) -> Sequence[Path]:
        """Where the runs have drawn their samples, links not resolved."""
        ...


class TrainingGuard(Protocol):
    """Whether the current config may be changed now."""

    def refuse_while_training(self) -> None:
        """Raises ConflictError while a training is under way."""
        ...


GPUS: web.AppKey[GpuCache] = web.AppKey("gpus", GpuCache)
READINESS: web.AppKey[Readiness] = web.AppKey("readiness", Readiness)
RELOADER: web.AppKey[Reloader] = web.AppKey("reloader", Reloader)
TELEMETRY: web.AppKey[Telemetry] = web.AppKey("telemetry", Telemetry)
METER: web.AppKey[RequestMeter] = web.AppKey("request_meter", RequestMeter)
SETTINGS: web.AppKey[InForce] = web.AppKey("settings", InForce)
ROOTS: web.AppKey[Roots] = web.AppKey("roots", Roots)
PRESETS: web.AppKey[Presets] = web.AppKey("presets", Presets)
COMPARER: web.AppKey[Comparer] = web.AppKey("comparer", Comparer)
CURRENT: web.AppKey[CurrentConfig] = web.AppKey("current", CurrentConfig)
VALIDATING: web.AppKey[Validating] = web.AppKey("validating", Validating)
CATALOG: web.AppKey[Catalog] = web.AppKey("catalog", Catalog)
SYSTEM: web.AppKey[SystemInfo] = web.AppKey("system", SystemInfo)
SAMPLES: web.AppKey[SampleBook] = web.AppKey("samples", SampleBook)
THUMBNAILS: web.AppKey[Thumbnails] = web.AppKey("thumbnails", Thumbnails)
GUARD: web.AppKey[TrainingGuard] = web.AppKey("guard", TrainingGuard)
SUPERVISOR: web.AppKey[Supervisor] = web.AppKey("supervisor", Supervisor)
INTAKE: web.AppKey[Intake] = web.AppKey("intake", Intake)
SOCKETS: web.AppKey[Sockets] = web.AppKey("sockets", Sockets)
LOGS: web.AppKey[LogStreams] = web.AppKey("logs", LogStreams)
ONCE: web.AppKey[Once] = web.AppKey("once", Once)
SCALARS: web.AppKey[ScalarKeeper] = web.AppKey("scalars", ScalarKeeper)
