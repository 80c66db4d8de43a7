"""The daemon's life: from its lock on the state directory, by its open port and its signals, to its goodbye. What it is made of: `app`."""

import asyncio
import contextlib
import faulthandler
import functools
import logging
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon.access.tls import ServerTls
from daemon.api.keys import RELOADER, SETTINGS, SUPERVISOR, TELEMETRY
from daemon.api.request_ids import current_request_id
from daemon.api.server import ApiRunner, ApiSite
from daemon.app import build_app
from daemon.errors import UnavailableError
from daemon.hangup import HangUp
from daemon.listening import bind
from daemon.logs import Logs
from daemon.runs.summary import in_one_line
from daemon.service.machine import is_going_down
from daemon.service.notify import Notifier
from daemon.service.pulse import beating
from daemon.settings.model import Settings
from daemon.settings.reloading import Reloader
from daemon.stdout import tell
from daemon.supervisor.supervisor import Supervisor
from daemon.telemetry.server import fill_certificate
from ipc import __version__
from ipc.atomic import replace_json
from ipc.core_dumps import forbid_core_dumps
from ipc.errors import LockHeldError
from ipc.locks import FileLock

_LOG = logging.getLogger(__name__)
_GOODBYE_S = 5.0
_DESCRIPTORS = 65536


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
    forbid_core_dumps()
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
    sockets = bind(settings.host, settings.port)  # before any run is touched: a daemon that cannot be reached adopts nothing
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
