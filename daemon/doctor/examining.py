"""The list of checks, and the whole examination: from flags to findings."""

import importlib.metadata
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

from daemon.doctor import folders, machine, serving, trainer
from daemon.doctor.bounded import Examination, run_all
from daemon.doctor.findings import Case, Finding, fail, ok
from daemon.settings.model import Settings, SettingsError, load_settings
from ipc import __version__

_SOON_S = 15.0
CHECKS: Mapping[str, Examination] = {
    "checkout": Examination(trainer.checkout, 30.0),
    "git": Examination(trainer.git, _SOON_S),
    "python": Examination(trainer.python, trainer.PROBE_S),
    "imports": Examination(trainer.imports, trainer.IMPORT_S),
    "gpu": Examination(machine.gpus, _SOON_S),
    "memory": Examination(machine.memory, _SOON_S),
    "state": Examination(folders.state_disk, _SOON_S),
    "root": Examination(folders.root_disks, _SOON_S),
    "limits": Examination(machine.limits, _SOON_S),
    "rights": Examination(folders.permissions, _SOON_S),
    "port": Examination(serving.port, _SOON_S),
    "tls": Examination(serving.certificate, _SOON_S),
    "unit": Examination(serving.unit, 2 * _SOON_S),
    "clock": Examination(machine.clock, _SOON_S),
}


def examine(flags: Mapping[str, object], environ: Mapping[str, str], cwd: Path) -> list[Finding]:
    """All findings, in the order of `CHECKS`. Wrong settings are findings as well; the rest is then looked at with the defaults."""
    settings, findings = _settings(flags, environ, cwd)
    return [_own(), *findings, *run_all(CHECKS, Case(settings, cwd, environ))]


def _own() -> Finding:
    """What the daemon itself runs on. That its packages are there shows in that we do."""
    version = ".".join(map(str, sys.version_info[:3]))
    if importlib.util.find_spec("sqlite3") is None or importlib.util.find_spec("_sqlite3") is None:
        return fail("daemon", f"this Python {version} was built without sqlite3, where scalars are kept", "use another Python")
    return ok("daemon", f"onetrainerd {__version__}, Python {version} at {sys.executable}, aiohttp {importlib.metadata.version('aiohttp')}")


def _settings(flags: Mapping[str, object], environ: Mapping[str, str], cwd: Path) -> tuple[Settings, list[Finding]]:
    file = flags.get("config") or environ.get("ONETRAINERD_CONFIG")
    try:
        settings = load_settings(flags, environ, cwd)
    except SettingsError as error:
        wrong = [fail("settings", line, "mend it: the daemon does not start with it") for line in error.message.splitlines()]
        return _defaults(flags, environ, cwd), wrong
    return settings, [ok("settings", f"from {file}" if file else "the defaults, environment and flags; no file is given")]


def _defaults(flags: Mapping[str, object], environ: Mapping[str, str], cwd: Path) -> Settings:
    """The settings without what is wrong: without the file, then without the environment too."""
    plain = {key: value for key, value in flags.items() if key == "state_dir"}
    paths = {key: value for key, value in environ.items() if not key.startswith("ONETRAINERD_")}
    for tried in (plain, {}):
        try:
            return load_settings(tried, paths, cwd)
        except SettingsError:
            continue
    return load_settings({}, {}, cwd)
