"""The composition root: where settings, state directory, supervisor and API meet."""

import asyncio
import contextlib
import functools
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from aiohttp import web

from daemon.access.audit_log import AuditLog
from daemon.access.token import ensure_token
from daemon.access.token_book import TokenBook
from daemon.api import config, docs, operations, run_files, run_metrics, runs, samples, system, training
from daemon.api.frame import make_app
from daemon.api.gate import gate
from daemon.api.keys import (
    CATALOG,
    COMPARER,
    CURRENT,
    GUARD,
    INTAKE,
    LOGS,
    ONCE,
    PRESETS,
    ROOTS,
    SAMPLES,
    SCALARS,
    SETTINGS,
    SOCKETS,
    SUPERVISOR,
    SYSTEM,
    THUMBNAILS,
    VALIDATING,
)
from daemon.api.log_stream import LogStreams
from daemon.api.request_ids import current_request_id
from daemon.api.stream import Sockets
from daemon.catalog.asking import Asked
from daemon.catalog.deep import DeepReader
from daemon.catalog.keeper import Catalog
from daemon.catalog.validating import Validating
from daemon.config.comparing import Comparer
from daemon.config.composing import Composer
from daemon.config.current import CurrentConfig
from daemon.config.presets import Presets
from daemon.config.validation import Validator
from daemon.data import data_folder
from daemon.logs import Logs
from daemon.operating import watch
from daemon.paths import Roots
from daemon.runs.disk import DiskMarks
from daemon.runs.policies import RestartPolicy, StallPolicy
from daemon.runs.retention import Retention
from daemon.samples.thumbnails import Thumbnails
from daemon.scalars.keeper import ScalarKeeper, Subject
from daemon.settings.in_force import InForce
from daemon.settings.model import Settings
from daemon.supervisor.checkout import find_onetrainer
from daemon.supervisor.intake import Defaults, Intake
from daemon.supervisor.once import Once
from daemon.supervisor.packing import pack_runner
from daemon.supervisor.plan import StopPeriods, Trainer, builtin_trainer
from daemon.supervisor.store import RunStore
from daemon.supervisor.supervisor import Policy, Supervisor
from daemon.supervisor.unit_launcher import choose_launcher
from daemon.system.gpu import GpuMonitor
from daemon.system.info import SystemInfo
from daemon.system.probe import TrainerProbe

ROUTES = [
    *training.ROUTES,
    *runs.ROUTES,
    *run_files.ROUTES,
    *run_metrics.ROUTES,
    *config.ROUTES,
    *samples.ROUTES,
    *system.ROUTES,
    *operations.ROUTES,
    *docs.ROUTES,
]


def build_app(settings: Settings, load: Callable[[], Settings] | None = None, logs: Logs | None = None) -> web.Application:
    """All parts, put together; started and ended with the application. Without *load* a reload finds the same settings again."""
    audit = AuditLog(settings.state_dir / "audit.jsonl", time.time)
    book = _token_book(settings.state_dir, audit) if settings.auth == "token" else None
    cwd = Path.cwd()
    base = settings.onetrainer.home or cwd if settings.chosen_backend == "onetrainer" else cwd
    roots = Roots(settings.client_roots(), base, settings.state_dir, [settings.tls.key] if settings.tls.key else [])
    archive = pack_runner(settings.state_dir / "runtime")
    asked = _asked(settings, cwd, archive)
    catalog = Catalog(asked, settings.state_dir / "catalog.json")
    reader = DeepReader(asked, catalog)
    validator = Validator(catalog.now, roots)
    current = CurrentConfig(settings.state_dir / "current.json")
    presets = Presets(settings.state_dir / "presets", data_folder("configs") / "presets", _preset_folders(settings), roots)
    supervisor = _supervisor(settings, cwd, archive)
    app = make_app(settings, book, ROUTES, audit)
    app[ROOTS] = roots
    app[CATALOG] = catalog
    app[VALIDATING] = Validating(catalog, validator, reader, roots)
    app[CURRENT] = current
    app[PRESETS] = presets
    app[COMPARER] = Comparer(catalog.schema, current, presets)
    app[INTAKE] = Intake(settings.chosen_backend, roots, current, validator, _defaults(settings), Composer(presets, catalog.schema))
    app[SUPERVISOR] = supervisor
    app.middlewares.append(gate(supervisor))
    app[SOCKETS] = Sockets()
    app[LOGS] = LogStreams()
    app[ONCE] = Once(supervisor.runs)
    app[SAMPLES] = supervisor
    app[THUMBNAILS] = thumbnails = Thumbnails(settings.state_dir / "thumbnails")
    app[GUARD] = supervisor
    gpus = GpuMonitor()
    probe = TrainerProbe(_trainer_python(settings), settings.state_dir / "trainer.json")
    app[SYSTEM] = SystemInfo(gpus, probe)
    scalars = ScalarKeeper(functools.partial(_subjects, supervisor))
    app[SCALARS] = scalars
    _follow(app[SETTINGS], roots, app[INTAKE], supervisor)
    watching = watch(app, load or (lambda: settings), logs or Logs(current_request_id), gpus)
    parts: list[contextlib.AbstractAsyncContextManager[object]] = [
        audit.writing(), gpus, probe, catalog, reader, supervisor.running(), scalars, *watching,
    ]  # fmt: skip
    for part in parts:
        app.cleanup_ctx.append(_entered(part))
    app.on_cleanup.append(lambda _: asyncio.to_thread(thumbnails.close))
    app.on_shutdown.append(_close_sockets)
    return app


def _follow(in_force: InForce, roots: Roots, intake: Intake, supervisor: Supervisor) -> None:
    """Which parts a reload reaches, besides those of `daemon/api`."""
    in_force.on_change(lambda to_come: roots.prepared(to_come.client_roots()))
    in_force.on_change(lambda to_come: functools.partial(intake.change_defaults, _defaults(to_come)))
    in_force.on_change(lambda to_come: functools.partial(supervisor.change_policy, _policy(to_come)))


def _subjects(supervisor: Supervisor) -> list[Subject]:
    """Whose scalars are kept: none before it is known which runs live, since the stores of those are kept open."""
    runs = supervisor.runs() if supervisor.is_adopted else []
    return [Subject(run.directory, run.history.spot, run.occupies_a_place) for run in runs]


def _token_book(state_dir: Path, audit: AuditLog) -> TokenBook:
    ensure_token(state_dir / "token")
    return TokenBook(state_dir, lambda what, token: audit.put(f"token.{what}", {"token": token.name, "role": token.role}))


def _supervisor(settings: Settings, cwd: Path, archive: Path) -> Supervisor:
    trainers: dict[str, Callable[[], Trainer]] = {"builtin": functools.partial(builtin_trainer, cwd)}
    if settings.onetrainer.home:
        trainers["onetrainer"] = functools.partial(find_onetrainer, settings.onetrainer.home, settings.onetrainer.python)
    trainers[settings.chosen_backend]()  # what is wrong with it is told now, not at the first start
    launcher = choose_launcher(settings.launcher, settings.run_socket, archive)
    return Supervisor(RunStore(settings.state_dir, launcher.name), launcher, archive, trainers, _policy(settings))


def _policy(settings: Settings) -> Policy:
    kept = Retention(settings.retention.keep_runs, settings.retention.keep_days)
    return Policy(settings.runs.max_concurrent, StopPeriods(settings.stop.grace_s, settings.stop.term_s), _marks(settings), kept)


def _defaults(settings: Settings) -> Defaults:
    restart, stall = RestartPolicy(**settings.restart.model_dump()), StallPolicy(**settings.stall.model_dump())
    return Defaults(settings.state_dir, restart, stall, _marks(settings))


def _marks(settings: Settings) -> DiskMarks:
    return DiskMarks(**settings.disk.model_dump())


def _preset_folders(settings: Settings) -> list[Path]:
    return [settings.onetrainer.home / "training_presets"] if settings.onetrainer.home else []


def _trainer_python(settings: Settings) -> Path:
    if settings.chosen_backend == "onetrainer" and settings.onetrainer.home:
        return find_onetrainer(settings.onetrainer.home, settings.onetrainer.python).python
    return Path(sys.executable)


def _asked(settings: Settings, cwd: Path, archive: Path) -> Asked:
    """Whose configs these are: the trainer that runs are started with."""
    if settings.chosen_backend == "onetrainer" and settings.onetrainer.home:
        trainer = find_onetrainer(settings.onetrainer.home, settings.onetrainer.python)
        return Asked("onetrainer", trainer.python, trainer.cwd, archive, trainer.env)
    return Asked("builtin", Path(sys.executable), cwd, archive)


def _entered(part: contextlib.AbstractAsyncContextManager[object]) -> Callable[[web.Application], AsyncIterator[None]]:
    """A part of the application, begun and ended with it."""

    async def context(_: web.Application) -> AsyncIterator[None]:
        async with part:
            yield

    return context


async def _close_sockets(app: web.Application) -> None:
    app[LOGS].close_all(app[SUPERVISOR].bell)
    await app[SOCKETS].close_all()
