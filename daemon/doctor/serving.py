"""Whether a daemon serves, or could: port, certificate, systemd's unit."""

import errno
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from daemon.access.tls import client_context, load_certificate
from daemon.doctor.findings import Case, Finding, fail, ok, warn
from daemon.errors import DaemonError
from ipc.atomic import read_object
from ipc.errors import IpcError
from ipc.locks import is_locked

_ANSWER_S = 5.0
_UNIT = "onetrainerd.service"
_PROPERTIES = ("LoadState", "ActiveState", "SubState", "UnitFileState", "FragmentPath", "NeedDaemonReload", "Result", "ExecStart")


def port(case: Case) -> Iterator[Finding]:
    """Our own daemon answers, or the port is free for it."""
    settings = case.settings
    endpoint = _endpoint(settings.state_dir)
    if endpoint and (answer := _health(*endpoint)):
        yield ok("port", f"our daemon answers at {endpoint[0]}: {answer}")
        return
    if _is_held(settings.state_dir):
        what = f"a daemon holds {settings.state_dir}, and does not answer at {endpoint[0] if endpoint else 'any address that is known'}"
        yield fail("port", what, "its log says more (journalctl -u onetrainerd); stopping it leaves trainings alone")
        return
    where = f"{settings.host} port {settings.port}"
    try:
        for family, _, _, _, address in socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[:1]:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        advice = {
            errno.EADDRINUSE: f"another program has it (ss -ltnp 'sport = :{settings.port}' says which); choose another with --port",
            errno.EACCES: "ports below 1024 are root's: choose a higher one, or AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit",
        }.get(error.errno or 0, "choose another with --host: an address of this machine, or 127.0.0.1")
        yield fail("port", f"{where} cannot be had: {error.strerror or error}", advice)
    else:
        yield ok("port", f"{where} is free; no daemon serves {settings.state_dir} now")


def _endpoint(state_dir: Path) -> tuple[str, str | None] | None:
    """Where the last daemon of *state_dir* listened, and its certificate."""
    try:
        noted = read_object(state_dir / "endpoint.json")
        return str(noted["url"]), noted.get("certificate")
    except (OSError, IpcError, KeyError):
        return None


def _health(url: str, certificate: str | None) -> str | None:
    if urlsplit(url).scheme not in ("http", "https"):
        return None
    try:
        trusting = client_context(Path(certificate)) if certificate else None
        with urllib.request.urlopen(f"{url}/health", timeout=_ANSWER_S, context=trusting) as answer:  # noqa: S310 - http(s) # nosec B310
            found = json.load(answer)
            return f"{found['status']}, {found['trainer_status']}"
    except (OSError, ValueError, KeyError, TypeError, DaemonError):
        return None


def _is_held(state_dir: Path) -> bool:
    try:
        return (state_dir / "daemon.lock").exists() and is_locked(state_dir / "daemon.lock")
    except OSError:
        return False


def certificate(case: Case) -> Iterator[Finding]:
    tls = case.settings.tls
    if tls.cert is None or tls.key is None:
        return
    try:
        trouble = load_certificate(tls.cert, tls.key).trouble(time.time())
    except DaemonError as error:
        yield fail("tls", error.message, "give tls.cert and tls.key a pair that belongs together")
        return
    if trouble is None:
        yield ok("tls", f"{tls.cert} is valid")
    else:
        level, text = trouble
        yield (fail if level >= logging.ERROR else warn)("tls", f"{tls.cert} {text}", "renew it, then systemctl reload onetrainerd")


def unit(case: Case) -> Iterator[Finding]:
    """The service, of the machine and of the user; without systemd there is nothing to say."""
    systemctl = shutil.which("systemctl")
    if systemctl is None or not Path("/run/systemd/system").is_dir():  # sd_booted(3)
        yield ok("unit", "systemd does not run this machine: start `onetrainerd serve` by what does")
        return
    managers = [("--system",), *([("--user",)] if case.environ.get("XDG_RUNTIME_DIR") else [])]
    shown = {manager: _shown(systemctl, manager) for manager in managers}
    there = {manager: facts for manager, facts in shown.items() if facts.get("LoadState") not in (None, "not-found")}
    if not there:
        yield ok("unit", f"{_UNIT} is not installed: `onetrainerd install` makes the daemon start with the machine")
    for (manager,), facts in there.items():
        program = re.search(r"path=(\S+)", facts.get("ExecStart", ""))
        if program and not os.access(program[1], os.X_OK):
            what = f"{facts.get('FragmentPath') or _UNIT} starts {program[1]}, which is not there or not to be run by this user"
            yield warn("unit", what, "onetrainerd install, from where onetrainerd is now, writes the unit anew")
        yield judged(f"systemctl {manager} " if manager == "--user" else "systemctl ", facts)


def _shown(systemctl: str, manager: tuple[str, ...]) -> dict[str, str]:
    asked = subprocess.run(
        [systemctl, *manager, "show", _UNIT, f"--property={','.join(_PROPERTIES)}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_ANSWER_S, check=False, env={**os.environ, "SYSTEMD_PAGER": ""},
    )  # fmt: skip
    return dict(line.split("=", 1) for line in asked.stdout.splitlines() if "=" in line)


def judged(systemctl: str, facts: dict[str, str]) -> Finding:
    """What `systemctl show` says, as a finding. Pure."""
    state = f"{facts.get('FragmentPath') or _UNIT} is {facts.get('ActiveState')} ({facts.get('SubState')}), {facts.get('UnitFileState')}"
    if facts.get("LoadState") != "loaded":
        return fail("unit", f"{_UNIT} cannot be loaded: {facts.get('LoadState')}", f"{systemctl}status {_UNIT} says why")
    if facts.get("ActiveState") == "failed":
        return fail("unit", f"{state}: {facts.get('Result')}", f"journalctl -u {_UNIT} says why; then {systemctl}restart {_UNIT}")
    if facts.get("NeedDaemonReload") == "yes":
        return warn("unit", f"{state}; its file has changed since systemd read it", f"{systemctl}daemon-reload")
    if facts.get("UnitFileState") == "disabled":
        return warn("unit", f"{state}: it does not come back after a restart of the machine", f"{systemctl}enable {_UNIT}")
    return ok("unit", state)
