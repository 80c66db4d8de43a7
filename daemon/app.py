"""The composition root: where settings, state directory, supervisor and API meet, and the daemon's life from lock to goodbye."""

import asyncio
import contextlib
import errno
import faulthandler
import functools
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

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
    RELOADER,
    ROOTS,
    SAMPLES,
    SCALARS,
    SETTINGS,
    SOCKETS,
    SUPERVISOR,
    SYSTEM,
    TELEMETRY,
    THUMBNAILS,
    VALIDATING,
)
from daemon.api.log_stream import LogStreams
from daemon.api.request_ids import current_request_id
from daemon.api.server import ApiRunner, ApiSite
from daemon.api.stream import Sockets
from daemon.audit_log import AuditLog
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
from daemon.errors import UnavailableError
from daemon.hangup import HangUp
from daemon.in_force import InForce
from daemon.logs import Logs
from daemon.operating import watch
from daemon.paths import Roots
from daemon.reloading import Reloader
from daemon.runs.disk import DiskMarks
from daemon.runs.policies import RestartPolicy, StallPolicy
from daemon.runs.retention import Retention
from daemon.runs.summary import in_one_line
from daemon.samples.thumbnails import Thumbnails
from daemon.scalars.keeper import ScalarKeeper, Subject
from daemon.service.machine import is_going_down
from daemon.service.notify import Notifier
from daemon.service.pulse import beating
from daemon.settings import Settings
from daemon.stdout import tell
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
from daemon.telemetry.server import fill_certificate
from daemon.tls import ServerTls
from daemon.token import ensure_token
from daemon.token_book import TokenBook
from ipc import __version__
from ipc.atomic import replace_json
from ipc.errors import LockHeldError
from ipc.locks import FileLock

_LOG = logging.getLogger(__name__)
_GOODBYE_S = 5.0
_DESCRIPTORS = 65536
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


def serve(load: Callable[[], Settings]) -> int:
    """Serve until SIGTERM, SIGINT or the end of our terminal; 0 then. Trainings are left at their work. A SIGHUP from elsewhere reloads.

    *load* reads the settings, now and at each reload.

    Raises:
        DaemonError: it cannot start; the message is one clear line.
    """
    settings = load()
    logs = Logs(current_request_id)
    logs.set_up(settings.log)
    faulthandler.enable()  # where every thread stands when the watchdog's SIGABRT ends us
    _raise_descriptor_limit()
    with _state_directory(settings.state_dir):
        asyncio.run(_serve(settings, load, logs))
    return 0


def _raise_descriptor_limit() -> None:
    """The soft limit is often 1024, for programs that call select(2); asyncio does not. Bounded, since containers say a billion."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def _state_directory(folder: Path) -> Any:
    """The state directory, there and ours alone."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(folder / "daemon.lock")
        lock.acquire()
    except LockHeldError:
        raise UnavailableError(
            f"the state directory {folder} is in use by another onetrainerd; stop that one, or choose another with --state-dir"
        ) from None
    except OSError as error:
        raise UnavailableError(f"the state directory {folder} cannot be used: {error.strerror}; choose another with --state-dir") from error
    try:
        yield
    finally:
        lock.release()


async def _serve(settings: Settings, load: Callable[[], Settings], logs: Logs) -> None:
    terminal = HangUp()
    stopped = asyncio.Event()
    hung_up = asyncio.Event()
    handlers = {signal.SIGTERM: stopped.set, signal.SIGINT: stopped.set, signal.SIGHUP: hung_up.set}
    for number, handler in handlers.items():
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup(1) wants a hang-up to be ignored, sh(1) an interrupt of a job with &
            asyncio.get_running_loop().add_signal_handler(number, handler)
    try:
        app = build_app(settings, load, logs)
    except OSError as error:
        raise UnavailableError(
            f"the state directory {settings.state_dir} cannot be used: {error.filename}: {error.strerror}; "
            "move that away, or choose another with --state-dir"
        ) from error
    tls = ServerTls(settings.tls.cert, settings.tls.key) if settings.tls.cert and settings.tls.key else None
    if tls:
        app[SETTINGS].on_change(lambda _: tls.prepared())
        app[TELEMETRY].also(functools.partial(fill_certificate, tls))
    runner = ApiRunner(app, access_log=None, shutdown_timeout=_GOODBYE_S, handle_signals=False)
    sockets = _bind(settings.host, settings.port)  # before any run is touched: a daemon that cannot be reached adopts nothing
    await runner.setup()
    try:
        for bound in sockets:
            await ApiSite(runner, bound, tls.context if tls else None).start()
        host, port = sockets[0].getsockname()[:2]
        url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
        endpoint = {"url": url, "pid": os.getpid(), "version": __version__, **({"certificate": str(settings.tls.cert)} if tls else {})}
        try:
            replace_json(settings.state_dir / "endpoint.json", endpoint)
        except OSError as error:  # a full disk must not keep the trainings without a daemon
            _LOG.error("the command line cannot find this daemon by itself: %s/endpoint.json: %s", settings.state_dir, error)
        _announce(f"onetrainerd {__version__} listens on {url} with the {settings.chosen_backend} trainer")
        notifier = Notifier(os.environ)
        reloads = asyncio.create_task(_reload_on(hung_up, terminal, app[RELOADER], stopped), name="reloads")
        notifier.ready()
        async with beating(notifier, functools.partial(_status, url, app[SUPERVISOR])):
            await stopped.wait()
            reloads.cancel()
            await _say_goodbye(notifier, app[SUPERVISOR])
    finally:
        await runner.cleanup()


def _status(url: str, supervisor: Supervisor) -> str:
    return f"{url}: {in_one_line(run.view for run in supervisor.runs())}"


async def _say_goodbye(notifier: Notifier, supervisor: Supervisor) -> None:
    notifier.stopping()
    if await is_going_down():
        notifier.extend(supervisor.farewell_s + _GOODBYE_S)
        await supervisor.see_off()
        _LOG.info("stopping, with the machine")
    else:
        _LOG.info("stopping; trainings go on and the next daemon adopts them")


async def _reload_on(hung_up: asyncio.Event, terminal: HangUp, reloader: Reloader, stopped: asyncio.Event) -> None:
    """Reload at each SIGHUP, until one says that our terminal has gone."""
    while True:
        await hung_up.wait()
        hung_up.clear()
        if terminal.has_happened():
            _LOG.info("the terminal has hung up")
            stopped.set()
            return
        await reloader.reload()


def _announce(line: str) -> None:
    try:
        tell(line)
    except UnavailableError as error:
        _LOG.warning("%s; %s", line, error.message)


def _bind(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for every address of *host*; with port 0 for its first one alone, so that there is one port.

    Raises:
        UnavailableError: an address cannot be had, and why.
    """
    bound: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in found if port else found[:1]:
            one = socket.socket(family, socket.SOCK_STREAM)
            bound.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                one.bind(address)
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL or len(found) == 1:
                    raise
                bound.remove(one)  # localhost is ::1 too, also on machines without IPv6
                one.close()
                continue
            one.listen(128)
    except OSError as error:
        for one in bound:
            one.close()
        raise UnavailableError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with --host or --port"
        ) from error
    if not bound:
        raise UnavailableError(f"no address of {host} is one of this machine's; choose another with --host")
    return bound


def build_app(settings: Settings, load: Callable[[], Settings] | None = None, logs: Logs | None = None) -> web.Application:
    """All parts, put together; started and ended with the application. Without *load* a reload finds the same settings again."""
    audit = AuditLog(settings.state_dir / "audit.jsonl", time.time)
    book = _token_book(settings.state_dir, audit) if settings.auth == "token" else None
    cwd = Path.cwd()
    base = settings.onetrainer.home or cwd if settings.chosen_backend == "onetrainer" else cwd
    roots = Roots(settings.client_roots(), base, settings.state_dir)
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
    scalars = ScalarKeeper(lambda: [Subject(run.directory, run.history.spot, run.occupies_a_place) for run in supervisor.runs()])
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
