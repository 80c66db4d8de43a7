"""Disks and permissions: the state directory, and the folders that trainings may write to."""

import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from daemon.access.token import read_token
from daemon.doctor.findings import Case, Finding, fail, gib, ok, warn
from daemon.errors import DaemonError
from daemon.runs.disk import DiskMarks
from daemon.samples.mounts import is_network

_SECRET_FILES = ("token", "tokens.json", "current.secrets.json")
_INODES = 10_000


def state_disk(case: Case) -> Iterator[Finding]:
    """The state directory's file system: journals are written there all the time."""
    folder = case.settings.state_dir
    there = next(path for path in (folder, *folder.parents) if os.access(path, os.F_OK))
    yield from _room("state", folder, there, case)
    if is_network(there):
        what = f"{folder} is on a network file system: locks and journals depend on another machine"
        yield warn("state", what, "set state_dir to a local disk; workspaces and models may stay where they are")
    if there != folder:
        if not os.access(there, os.W_OK | os.X_OK):
            yield fail(
                "state", f"{folder} cannot be made in {there}", "make it and give it to the daemon's user, or choose another --state-dir"
            )
    elif (reason := _unwritable(folder)) and folder.stat().st_uid == os.geteuid():
        yield fail("state", f"{folder} cannot be written to: {reason}", "see to that, or choose another with --state-dir")


def root_disks(case: Case) -> Iterator[Finding]:
    """The folders that clients may name: workspaces and models go there."""
    for folder in dict.fromkeys(case.settings.paths.roots):
        if not folder.is_dir():
            yield warn("root", f"{folder} is not there", "make it, or take it out of paths.roots")
            continue
        yield from _room("root", folder, folder, case)
        if reason := _unwritable(folder):
            yield warn("root", f"{folder} cannot be written to: {reason}", "trainings may read there; a workspace must be elsewhere")
        elif is_network(folder):
            what = f"{folder} is on a network file system: samples are found some seconds later"
            yield warn("root", what, "keep workspaces on a local disk where the network may fail during a training")


def _room(check: str, folder: Path, there: Path, case: Case) -> Iterator[Finding]:
    status = os.statvfs(there)
    free, total = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    marks = DiskMarks(**case.settings.disk.model_dump())
    text = f"{folder}: {gib(free)} of {gib(total)} free"
    if free < marks.hold_bytes:
        yield fail(check, f"{text}; below disk.hold_bytes trainings are paused", "make room, or use another disk")
    elif free < max(marks.low_bytes, marks.reserve_bytes):
        yield warn(check, f"{text}; that is little, see [disk]", "make room, or use another disk")
    elif status.f_files and status.f_favail < _INODES:
        yield warn(check, f"{folder}: only {status.f_favail} more files fit (inodes)", "remove small files, or use another disk")
    else:
        yield ok(check, text)


def _unwritable(folder: Path) -> str | None:
    """Why nothing can be written to *folder*; tried, since rights alone do not tell of a disk that is read-only."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return None


def permissions(case: Case) -> Iterator[Finding]:
    """Who may look into the state directory, and into what is secret in it."""
    folder = case.settings.state_dir
    if not os.access(folder.parent, os.X_OK) and os.access(folder.parent, os.F_OK):
        yield warn("rights", f"{folder.parent} is closed to this user", "run doctor as the daemon's user, who can look into it")
        return
    if not os.access(folder, os.F_OK):
        yield ok("rights", f"{folder} is made at the first start, for this user alone")
        return
    status = folder.stat()
    owner = _name(status.st_uid)
    if not os.access(folder, os.R_OK | os.X_OK):
        yield warn(
            "rights", f"{folder} belongs to {owner}, and this user cannot look into it", f"sudo -u {owner} onetrainerd doctor says more"
        )
        return
    if status.st_uid != os.geteuid():
        what = f"{folder} belongs to {owner}; a daemon of this user ({_name(os.geteuid())}) would meet files that are not its own"
        yield warn("rights", what, f"run the daemon, and doctor, as {owner}")
    elif status.st_mode & 0o022:
        yield fail(
            "rights", f"{folder} has mode {stat.S_IMODE(status.st_mode):04o}: others may change what is in it", f"chmod 700 {folder}"
        )
    elif status.st_mode & 0o055:
        yield warn(
            "rights", f"{folder} has mode {stat.S_IMODE(status.st_mode):04o}: others may look into configs and logs", f"chmod 700 {folder}"
        )
    else:
        yield ok("rights", f"{folder} is {owner}'s alone")
    yield from _secrets(folder)
    yield from _token(case)


def _secrets(folder: Path) -> Iterator[Finding]:
    paths = [folder / name for name in _SECRET_FILES[1:]] + list((folder / "runs").glob("*/secrets"))
    for path in paths:
        if path.exists() and path.stat().st_mode & 0o077:
            mode = stat.S_IMODE(path.stat().st_mode)
            what = f"{path} has mode {mode:04o}: others can read secrets"
            yield fail("secrets", what, f"chmod {'700' if path.is_dir() else '600'} {path}, and renew them")


def _token(case: Case) -> Iterator[Finding]:
    path = case.settings.state_dir / "token"
    if case.settings.auth == "none":
        yield warn("token", "auth is 'none': every program and user of this machine may start trainings", "set auth = 'token'")
    elif not path.exists():
        yield ok("token", f"{path} is made at the first start")
    else:
        try:
            read_token(path)
        except DaemonError as error:
            yield fail("token", error.message, f"remove {path}, and the daemon makes a new one when it starts")
        else:
            yield ok("token", f"{path} is readable for its owner alone")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
