"""The run directories: making a new one, all at once, and finding those that are there."""

import logging
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daemon.runs.fold import Record
from daemon.runs.policies import RestartPolicy, StallPolicy
from daemon.scalars.store import files_of
from ipc import PROTOCOL_VERSION
from ipc.atomic import read_versioned, replace_file, replace_json, sync_folder
from ipc.errors import IpcError
from ipc.journal import JournalWriter
from ipc.locks import is_locked
from ipc.run_directory import RUN_ID, RunDirectory

_LOG = logging.getLogger(__name__)
_OWN = frozenset({"run.json", "config.json", "secrets", "daemon", "checkpoints.jsonl", "tmp", "attempts", *files_of("scalars.db")})
"""What a run's directory consists of (PROTOCOL.md). A workspace may lie there as well: the state directory is a root for clients."""


@dataclass(frozen=True)
class RunSpec:
    """What is asked for: the effective config, checked already; *continue_from* a backup to begin at; *idempotency* as in run.json;
    *writes*: the files and folders that it will write, for the disk guard; *preset*: what it was asked for with."""

    backend: str
    config: Mapping[str, Any]
    config_path: str | None = None
    name: str | None = None
    secrets: Mapping[str, Any] | None = None
    continue_from: str | None = None
    idempotency: Mapping[str, str] | None = None
    restart: RestartPolicy = RestartPolicy()  # noqa: RUF009 - immutable
    stall: StallPolicy = StallPolicy()  # noqa: RUF009 - immutable
    writes: tuple[str, ...] = ()
    preset: str | None = None


@dataclass(frozen=True)
class StoredRun:
    """A run on disk, and what its run.json says."""

    directory: RunDirectory
    meta: Record

    @property
    def backend(self) -> str:
        return str(self.meta["backend"])

    @property
    def launcher(self) -> str:
        return str(self.meta.get("launcher", "direct"))

    def note_launcher(self, name: str) -> None:
        """An attempt is about to be started by the launcher *name*: run.json says so from here on. Raises OSError."""
        if name != self.launcher:
            self.meta["launcher"] = name
            replace_json(self.directory.run, self.meta)


class RunStore:
    """`runs/` of a state directory. Not for two daemons at once: the state directory's lock is held."""

    def __init__(self, state_dir: Path, launcher: str = "direct") -> None:
        """*launcher* is what run.json says of a new run; `StoredRun.note_launcher` says otherwise when another one starts it."""
        self._launcher = launcher
        self.state_dir = state_dir
        self._folder = state_dir / "runs"
        self._counter = state_dir / "next_run"
        self._folder.mkdir(parents=True, exist_ok=True)

    def create(self, spec: RunSpec, now: float) -> StoredRun:
        """A new run, queued: whole on disk under its name, or not there at all.

        Raises:
            OSError: no room or no right; nothing is left behind.
        """
        number = self._next_number()
        run_id = f"{number:06d}-{secrets.token_hex(2)}"
        draft = RunDirectory(self._folder / f".new-{run_id}")
        meta = {
            "v": PROTOCOL_VERSION, "id": run_id, "number": number, "created": now, "backend": spec.backend, "launcher": self._launcher,
            "name": spec.name, "config_path": spec.config_path, "continue_from": spec.continue_from,
        }  # fmt: skip
        if spec.preset is not None:
            meta["preset"] = spec.preset
        if spec.idempotency:
            meta["idempotency"] = dict(spec.idempotency)
        policies = {"restart": asdict(spec.restart), "stall": asdict(spec.stall)}
        meta |= {**policies, "writes": list(spec.writes)}
        try:
            draft.path.mkdir()
            draft.tmp.mkdir()
            replace_json(draft.run, meta)
            replace_json(draft.config, dict(spec.config))
            if spec.secrets:
                draft.secrets.mkdir(mode=0o700)
                replace_json(draft.secrets / "secrets.json", dict(spec.secrets), mode=0o600)
            journal = JournalWriter(draft.daemon)
            journal.append({"type": "run.queued", "after": [0, 0], "backend": spec.backend, **policies})
            journal.sync()
            journal.close()
            directory = RunDirectory(self._folder / run_id)
            draft.path.rename(directory.path)
        except OSError:
            shutil.rmtree(draft.path, ignore_errors=True)
            raise
        sync_folder(self._folder)
        return StoredRun(directory, meta)

    def all(self) -> list[StoredRun]:
        """The runs there are, oldest first. One that cannot be read is told in the log and left alone."""
        for leftover in (*self._folder.glob(".new-*"), *self._folder.glob(".gone-*")):
            shutil.rmtree(leftover, ignore_errors=True)
        found: list[StoredRun] = []
        for path in sorted(self._folder.iterdir()):
            if not RUN_ID.fullmatch(path.name):
                continue
            directory = RunDirectory(path)
            try:
                found.append(StoredRun(directory, read_versioned(directory.run, PROTOCOL_VERSION)))
            except (OSError, IpcError) as error:
                _LOG.error("run %s is left alone, since its run.json cannot be read: %s", path.name, error)
        return found

    def remove(self, directory: RunDirectory) -> bool:
        """Remove a run's directory, and nothing that a link in it points to. It is gone under its name at once, or stays whole.

        False, and nothing is done, while a runner of it lives, or when somebody has put something of his own into it.

        Raises:
            OSError: it could not be renamed.
        """
        if any(is_locked(attempt.lock) for attempt in directory.attempts()):
            return False
        if strange := sorted(path.name for path in directory.path.iterdir() if path.name not in _OWN and path.name[0] != "."):
            _LOG.warning("run %s is kept, though it is old: %s in its directory is not ours", directory.run_id, ", ".join(strange[:5]))
            return False
        gone = self._folder / f".gone-{directory.run_id}"
        directory.path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        return True

    def last_number(self) -> int:
        """The highest number that a run has been given, 0 before the first one."""
        try:
            noted = int(self._counter.read_text()) - 1
        except (OSError, ValueError):
            noted = 0  # not there yet, or garbled: the runs that are there say the rest
        return max([noted, *(int(path.name[:6]) for path in self._folder.iterdir() if re.match(r"[0-9]{6}-", path.name))])

    def _next_number(self) -> int:
        """Numbers are never used twice, also when runs were removed: ids sort by creation, and cursors build on it."""
        number = self.last_number() + 1
        replace_file(self._counter, f"{number + 1}\n".encode())
        return number
