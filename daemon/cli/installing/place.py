"""Where an installation lies, and for whom: the whole machine, or one user."""

import grp
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import NotFoundError

SERVICE, SOCKET, RUN = "onetrainerd.service", "onetrainer-run.socket", "onetrainer-run@.service"
SERVICE_USER = "onetrainerd"


@dataclass(frozen=True)
class Place:
    """The files of an installation. *sysusers* and *tmpfiles* are None in a user's own."""

    is_user: bool
    units: Path
    settings: Path
    run_socket: Path
    default_state: Path
    sysusers: Path | None = None
    tmpfiles: Path | None = None

    @property
    def systemctl(self) -> list[str]:
        return ["systemctl", "--user"] if self.is_user else ["systemctl"]

    @property
    def slice_of_runs(self) -> str:
        """The slice that systemd makes for the instances of the run unit (systemd.unit(5): the name is escaped)."""
        return ("app" if self.is_user else "system") + "-onetrainer\\x2drun.slice"

    @property
    def direct(self) -> Path:
        """The drop-in that is there when the launcher is `direct`."""
        return self.units / f"{SERVICE}.d" / "direct.conf"

    @property
    def low_port(self) -> Path:
        """The drop-in that is there when the daemon listens on a port below 1024."""
        return self.units / f"{SERVICE}.d" / "low-port.conf"

    @property
    def memory(self) -> Path:
        """The drop-in with a training's limits of memory."""
        return self.units / f"{RUN}.d" / "memory.conf"

    def files(self) -> list[Path]:
        """All that an installation may consist of, besides settings and state."""
        named = [self.units / name for name in (SERVICE, SOCKET, RUN)]
        return [*named, self.direct, self.low_port, self.memory, *filter(None, (self.sysusers, self.tmpfiles))]

    def installed_user(self) -> str | None:
        """Who an installation that is there already runs as."""
        try:
            lines = (self.units / SERVICE).read_text().splitlines()
        except OSError:
            return None
        return next((line.removeprefix("User=") for line in lines if line.startswith("User=")), None)


@dataclass(frozen=True)
class Owner:
    """Who daemon and trainings run as."""

    name: str
    group: str
    home: Path
    is_there: bool


def of_machine() -> Place:
    etc = Path("/etc")
    return Place(
        is_user=False, units=etc / "systemd" / "system", settings=etc / "onetrainerd" / "onetrainerd.toml",
        run_socket=Path("/run/onetrainerd/run.sock"), default_state=Path("/var/lib/onetrainerd"),
        sysusers=etc / "sysusers.d" / "onetrainerd.conf", tmpfiles=etc / "tmpfiles.d" / "onetrainerd.conf",
    )  # fmt: skip


def of_user(environ: Mapping[str, str]) -> Place:
    """Raises NotFoundError without a session whose manager could be asked."""
    home = Path(environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    state = Path(environ.get("XDG_STATE_HOME") or home / ".local" / "state")
    runtime = environ.get("XDG_RUNTIME_DIR")
    if not runtime:
        raise NotFoundError(
            "XDG_RUNTIME_DIR is not set: this is no session with a systemd of its own. Log in as that user, or use "
            "`machinectl shell USER@` or `ssh USER@localhost`",
            code="no_session",
        )
    return Place(
        is_user=True, units=config / "systemd" / "user", settings=config / "onetrainerd" / "onetrainerd.toml",
        run_socket=Path(runtime) / "onetrainerd" / "run.sock", default_state=state / "onetrainerd",
    )  # fmt: skip


def find_owner(place: Place, wanted: str | None) -> Owner:
    """Whom *wanted* names; else whom the present installation runs as, else `onetrainerd`, who may yet have to be made.

    Raises:
        NotFoundError: there is no such user.
    """
    if place.is_user:
        return _owner(pwd.getpwuid(os.getuid()))
    name = wanted or place.installed_user() or SERVICE_USER
    try:
        return _owner(pwd.getpwnam(name))
    except KeyError:
        if name != SERVICE_USER:
            raise NotFoundError(f"there is no user {name!r}; make it first, or leave --service-user out", code="no_user") from None
    return Owner(name, name, place.default_state, is_there=False)


def _owner(entry: pwd.struct_passwd) -> Owner:
    return Owner(entry.pw_name, grp.getgrgid(entry.pw_gid).gr_name, Path(entry.pw_dir), is_there=True)
