"""Which trainings of a state directory are at work, by their runners' locks. Looks, and signals nothing."""

from pathlib import Path

from daemon.errors import ConflictError
from ipc.atomic import read_object
from ipc.errors import IpcError
from ipc.locks import is_locked
from ipc.run_directory import RUN_ID, AttemptDirectory, RunDirectory


def attempts(state_dir: Path, launcher: str | None = None) -> list[AttemptDirectory]:
    """The attempts whose runner lives; of those, with *launcher*, the ones that it has started."""
    runs = state_dir / "runs"
    found: list[AttemptDirectory] = []
    for folder in sorted(runs.iterdir()) if runs.is_dir() else []:
        if RUN_ID.fullmatch(folder.name):
            run = RunDirectory(folder)
            if launcher is None or _launcher(run) == launcher:
                found += [attempt for attempt in run.attempts() if is_locked(attempt.lock)]
    return found


def refuse(state_dir: Path, launcher: str | None, why: str) -> None:
    """Raises ConflictError (code `run_active`) when a training is at work."""
    at_work = attempts(state_dir, launcher)
    if at_work:
        names = ", ".join(attempt.run.run_id for attempt in at_work)
        raise ConflictError(f"trainings are at work: {names}; {why}. Stop them, or wait for their end", code="run_active")


def _launcher(run: RunDirectory) -> str:
    try:
        return str(read_object(run.run).get("launcher", "direct"))
    except (OSError, IpcError):
        return "direct"
