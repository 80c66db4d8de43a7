"""What a runner is told to start: the trainer's interpreter, folder and environment, per backend."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from daemon.runs.fold import Record
from daemon.supervisor.launcher import clean_environment
from ipc import PROTOCOL_VERSION
from ipc.run_directory import AttemptDirectory

_CONSOLE_BYTES = 16 << 20


@dataclass(frozen=True)
class Trainer:
    """How the trainer of one backend is started. *private_hub_token*: its login to the hub is kept inside the run (HF_TOKEN_PATH)."""

    backend: str
    python: Path
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    private_hub_token: bool = False


@dataclass(frozen=True)
class StopPeriods:
    """Seconds from the stop command to SIGTERM, and from there to SIGKILL."""

    grace_s: float
    term_s: float


def builtin_trainer(cwd: Path) -> Trainer:
    """The built-in trainer runs under our own interpreter; relative paths in its config are relative to *cwd*."""
    return Trainer("builtin", Path(sys.executable), cwd)


def launch_file(attempt: AttemptDirectory, trainer: Trainer, archive: Path, stop: StopPeriods, continue_from: str | None) -> Record:
    """launch.json as PROTOCOL.md says."""
    environment = {
        **clean_environment(),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(attempt.run.tmp),
        **trainer.env,
    }
    if trainer.private_hub_token:
        environment["HF_TOKEN_PATH"] = str(attempt.run.secrets / "hub_token")
    for name in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"):
        environment.pop(name, None)
    return {
        "v": PROTOCOL_VERSION, "run_id": attempt.run.run_id, "attempt": attempt.number, "backend": trainer.backend,
        "argv": [str(trainer.python), str(archive), "trainer"], "cwd": str(trainer.cwd), "env": environment,
        "continue_from": continue_from, "stop": {"grace_s": stop.grace_s, "term_s": stop.term_s},
        "console": {"max_bytes": _CONSOLE_BYTES},
    }  # fmt: skip
