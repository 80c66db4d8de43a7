"""`onetrainerd install`: settings, user, units; enabled and started. Can be repeated: after an upgrade, or a change of the settings."""

import grp
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from daemon.cli.installing import living
from daemon.cli.installing.place import RUN, SERVICE, SOCKET, Owner, Place, find_owner, of_machine, of_user
from daemon.cli.installing.rendering import Facts, memory_limits, render
from daemon.cli.installing.settings_file import with_keys
from daemon.cli.installing.steps import Steps
from daemon.data import data_folder
from daemon.errors import ConflictError, ForbiddenError, UnavailableError
from daemon.settings.model import Settings, SettingsError, load_settings
from daemon.supervisor.checkout import find_onetrainer

_GPU_GROUPS = ("video", "render")
_FIRST_OPEN_PORT = 1024
_LOW_PORT = "[Service]\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n"


@dataclass(frozen=True)
class Wishes:
    """The flags. None: as it is, or the default."""

    is_user: bool = False
    service_user: str | None = None
    settings: Mapping[str, object | None] | None = None
    launcher: str | None = None
    memory_high: str | None = None
    memory_max: str | None = None
    starts: bool = True
    dry_run: bool = False


def install(wishes: Wishes) -> None:
    """Raises DaemonError with what keeps it from being installed, before anything is written where that can be."""
    place = of_user(os.environ) if wishes.is_user else of_machine()
    if not wishes.dry_run:
        refuse_unfit(place)
    steps = Steps(dry_run=wishes.dry_run)
    owner = find_owner(place, wishes.service_user)
    text, settings = _settings(place, owner, {key: value for key, value in (wishes.settings or {}).items() if value is not None})
    launcher = wishes.launcher or ("direct" if place.direct.exists() else "systemd")
    if launcher not in {"direct", "systemd"}:
        raise ConflictError(f"--launcher: {launcher!r} is none; it is systemd or direct")
    if launcher == "systemd" and place.direct.exists():
        living.refuse(settings.state_dir, "direct", "the systemd launcher would end them with the daemon's next stop")
    facts = Facts(place, owner, settings, [name for name in _GPU_GROUPS if _has_group(name)])
    if settings.onetrainer.home:
        find_onetrainer(settings.onetrainer.home, settings.onetrainer.python)
    rendered = {place.units / name: render(_shipped(place, name), facts) for name in (SERVICE, SOCKET, RUN)}
    if wishes.memory_high or wishes.memory_max:
        rendered[place.memory] = memory_limits(wishes.memory_high, wishes.memory_max)

    steps.write(place.settings, text)
    _make_user(steps, place, owner, facts)
    _refuse_unreadable(owner, settings, dry_run=wishes.dry_run)
    changed = {path.name for path, content in rendered.items() if steps.write(path, content)}
    if launcher == "direct":
        steps.write(place.direct, (data_folder("systemd") / "onetrainerd.service.d" / "direct.conf").read_text())
    else:
        steps.remove(place.direct)
    if 0 < settings.port < _FIRST_OPEN_PORT and not place.is_user:
        steps.write(place.low_port, _LOW_PORT)
    else:
        steps.remove(place.low_port)
    _bring_up(steps, place, launcher, is_socket_new=SOCKET in changed, starts=wishes.starts)
    _note_what_cannot_be_written(steps, owner, settings, dry_run=wishes.dry_run)
    _say_what_next(steps, place, settings)


def refuse_unfit(place: Place) -> None:
    """Raises ForbiddenError without the rights, UnavailableError without systemd."""
    if not Path("/run/systemd/system").is_dir():  # sd_booted(3)
        raise UnavailableError(
            "systemd does not run this machine; `onetrainerd serve` needs none, under whatever starts it", code="no_systemd"
        )
    if not place.is_user and os.geteuid() != 0:
        raise ForbiddenError(
            "a service of the machine is installed by root: sudo onetrainerd install. For yourself alone: --user", code="no_root"
        )


def _shipped(place: Place, name: str) -> str:
    return f"user/{name}" if place.is_user else name


def _settings(place: Place, owner: Owner, wishes: dict[str, object]) -> tuple[str, Settings]:
    """The settings file as it shall be, and what it says to the daemon of this installation."""
    before = place.settings if place.settings.exists() else data_folder("configs") / "onetrainerd.toml"
    try:
        text = before.read_text()
    except OSError as error:
        raise UnavailableError(f"{before} cannot be read: {error.strerror}", code="install") from error
    text = with_keys(text, wishes)
    environ = {"HOME": str(owner.home)}
    if place.is_user:
        environ |= {key: os.environ[key] for key in ("XDG_STATE_HOME",) if key in os.environ}
    else:
        environ["STATE_DIRECTORY"] = str(place.default_state)
    cwd = owner.home if place.is_user else place.default_state
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / place.settings.name
        draft.write_text(text)
        try:
            settings = load_settings({"config": str(draft)}, environ, cwd)
            if not place.is_user:  # the unit's working directory, to which a relative root is relative, is known only now
                settings = load_settings({"config": str(draft)}, environ, settings.state_dir)
            return text, settings
        except SettingsError as error:
            raise SettingsError(error.message.replace(str(draft), str(place.settings))) from error


def _has_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _make_user(steps: Steps, place: Place, owner: Owner, facts: Facts) -> None:
    if place.sysusers is not None and (not owner.is_there or place.sysusers.exists()):
        steps.write(place.sysusers, render("onetrainerd.sysusers", facts))
        if not owner.is_there:
            steps.call(["systemd-sysusers", str(place.sysusers)])
    if place.tmpfiles is not None:
        steps.write(place.tmpfiles, render("onetrainerd.tmpfiles", facts))
        steps.call(["systemd-tmpfiles", "--create", str(place.tmpfiles)])


def _refuse_unreadable(owner: Owner, settings: Settings, *, dry_run: bool) -> None:
    """The service's user must be able to run what the units name: a venv below /root is the usual mistake."""
    if not _can_try(owner, dry_run=dry_run):
        return
    programs = [[sys.executable, "-I", "-c", "import daemon.cli.main"]]
    if settings.onetrainer.home:
        python = find_onetrainer(settings.onetrainer.home, settings.onetrainer.python).python
        programs.append([str(python), "-c", "pass"])
    for program in programs:
        try:
            tried = _as_owner(owner, program)
        except OSError as error:
            why = error.strerror or str(error)
        else:
            why = tried.stderr.strip().rpartition("\n")[2]
            if tried.returncode == 0:
                continue
        raise ForbiddenError(
            f"user {owner.name} cannot run {program[0]}: {why}. Put it where everybody may read (python3 -m venv /opt/onetrainerd, "
            "/opt/OneTrainer), or name a user who can with --service-user",
            code="unreadable",
        )


def _note_what_cannot_be_written(steps: Steps, owner: Owner, settings: Settings, *, dry_run: bool) -> None:
    home = settings.onetrainer.home
    if home and _can_try(owner, dry_run=dry_run) and _as_owner(owner, ["test", "-w", str(home)]).returncode != 0:
        steps.note(
            f"user {owner.name} cannot write to {home}, where OneTrainer keeps caches and default workspaces: chown -R {owner.name}: {home}"
        )


def _can_try(owner: Owner, *, dry_run: bool) -> bool:
    """Only root can be somebody else; and in a dry run the user may not have been made."""
    return os.geteuid() == 0 and (owner.is_there or not dry_run)


def _as_owner(owner: Owner, program: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        program, cwd="/", env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(owner.home)},
        user=owner.name, group=owner.group, extra_groups=[], capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def _bring_up(steps: Steps, place: Place, launcher: str, *, is_socket_new: bool, starts: bool) -> None:
    steps.call([*place.systemctl, "daemon-reload"])
    units = [SOCKET, SERVICE] if launcher == "systemd" else [SERVICE]
    steps.call([*place.systemctl, "enable", *units])
    if launcher == "direct":
        steps.call([*place.systemctl, "disable", "--now", SOCKET], may_fail=True)
    if starts:
        look = f"; look at: journalctl {'--user ' if place.is_user else ''}-u {SERVICE} -n 50"
        if launcher == "systemd":
            steps.call([*place.systemctl, "restart" if is_socket_new else "start", SOCKET], look)
        steps.call([*place.systemctl, "restart", SERVICE], look)  # also after an upgrade; trainings are left alone


def _say_what_next(steps: Steps, place: Place, settings: Settings) -> None:
    scheme = "https" if settings.tls.cert else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    command = f"{'' if place.is_user else 'sudo '}{Path(sys.executable).with_name('onetrainerd')}"
    steps.note(f"`{command} token --state-dir {settings.state_dir}` prints the token for {scheme}://{host}:{settings.port}")
    steps.note(f"the settings are in {place.settings}; after a change: systemctl {'--user ' if place.is_user else ''}reload {SERVICE}, and")
    steps.note("install again when it is one of state_dir, onetrainer, paths.roots or stop: they stand in the units as well")
    if settings.chosen_backend == "builtin":
        steps.note("the built-in trainer serves; for OneTrainer install again with --onetrainer DIR")
    if place.is_user:
        steps.note("to have it at work without a session of yours: loginctl enable-linger")
