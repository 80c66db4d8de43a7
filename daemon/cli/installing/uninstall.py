"""`onetrainerd uninstall`: what `install` has put there is taken away again. State, settings and user stay unless they are purged."""

import os
import pwd
import signal
import time
from pathlib import Path

from daemon.cli.installing import living
from daemon.cli.installing.install import refuse_unfit
from daemon.cli.installing.place import RUN, SERVICE, SERVICE_USER, SOCKET, Place, find_owner, of_machine, of_user
from daemon.cli.installing.steps import Steps
from daemon.errors import ConflictError, DaemonError
from daemon.settings.model import load_settings
from daemon.supervisor.adoption import identities

_LOOK_S = 0.5


def uninstall(*, is_user: bool, purge: bool, stop_trainings: bool, dry_run: bool) -> None:
    """*stop_trainings*: by their ladder, which may take minutes. *purge*: the state directory too, and all that lies in it.

    Raises:
        ConflictError: a training is at work, and shall not be stopped; or what would be purged is no state directory.
        DaemonError: as `refuse_unfit`, or a step fails.
    """
    place = of_user(os.environ) if is_user else of_machine()
    if not dry_run:
        refuse_unfit(place)
    steps = Steps(dry_run=dry_run)
    state_dir = _state_dir(place)
    if not stop_trainings:
        living.refuse(state_dir, None, "--stop-trainings stops them here")
    if purge:
        _refuse_to_purge(state_dir)
    if (place.units / SERVICE).exists():
        steps.call([*place.systemctl, "disable", "--now", SERVICE, SOCKET], may_fail=True)
    if stop_trainings:
        _stop_trainings(steps, place, state_dir, dry_run=dry_run)
    steps.call([*place.systemctl, "stop", place.slice_of_runs], may_fail=True)
    has_made_user = place.sysusers is not None and place.sysusers.exists()
    for path in place.files():
        steps.remove(path)
    for name in (SERVICE, SOCKET, RUN):  # an operator's own drop-ins are for a unit that is gone
        steps.remove(place.units / f"{name}.d")
    steps.call([*place.systemctl, "daemon-reload"])
    steps.call([*place.systemctl, "reset-failed", SERVICE, SOCKET, "onetrainer-run@*.service"], may_fail=True)
    steps.remove(place.run_socket.parent)
    if purge:
        _purge(steps, place, state_dir, has_made_user=has_made_user)
    else:
        kept = [str(path) for path in (state_dir, place.settings) if path.exists()]
        if kept:
            steps.note(f"kept: {', '.join(kept)}, and the user that they belong to; --purge removes them")


def _state_dir(place: Place) -> Path:
    """As the settings say; where they cannot be read any more, the default."""
    owner_home = place.default_state
    try:
        owner_home = find_owner(place, None).home
        environ = {"HOME": str(owner_home), "ONETRAINERD_CONFIG": str(place.settings) if place.settings.exists() else ""}
        environ |= (
            {"XDG_STATE_HOME": os.environ.get("XDG_STATE_HOME", "")} if place.is_user else {"STATE_DIRECTORY": str(place.default_state)}
        )
        return load_settings({}, environ, owner_home).state_dir
    except DaemonError:
        return place.default_state


def _refuse_to_purge(state_dir: Path) -> None:
    if state_dir.exists() and any(state_dir.iterdir()) and not (state_dir / "daemon.lock").exists():
        raise ConflictError(f"{state_dir} is not purged: no daemon has ever used it (there is no daemon.lock in it)", code="no_state_dir")


def _stop_trainings(steps: Steps, place: Place, state_dir: Path, *, dry_run: bool) -> None:
    """Units by systemd, the others by their runners; each climbs its ladder, with a backup on the way."""
    at_work = living.attempts(state_dir)
    if not at_work:
        return
    steps.note(f"stopping, with a backup: {', '.join(attempt.run.run_id for attempt in at_work)}")
    if dry_run:
        return
    for attempt in at_work:
        runner, _ = identities(attempt)
        if runner is not None and _belongs_to(runner.pid, state_dir):
            runner.send_signal(signal.SIGTERM)
    while living.attempts(state_dir):
        time.sleep(_LOOK_S)
    steps.call([*place.systemctl, "stop", "onetrainer-run@*.service"], may_fail=True)


def _belongs_to(pid: int, state_dir: Path) -> bool:
    """Whether the state directory's owner could signal *pid* himself: what he wrote down must not make root signal somebody else's."""
    try:
        return Path(f"/proc/{pid}").stat().st_uid == state_dir.stat().st_uid
    except OSError:
        return False


def _purge(steps: Steps, place: Place, state_dir: Path, *, has_made_user: bool) -> None:
    steps.remove(state_dir)
    steps.remove(place.settings.parent)
    if has_made_user and _has_user(SERVICE_USER):
        steps.call(["userdel", SERVICE_USER], may_fail=True)


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
