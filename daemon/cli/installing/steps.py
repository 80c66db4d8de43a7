"""The steps of an installation: done, or only said; told line by line. One that has nothing to do says so: all can be repeated."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from daemon.errors import UnavailableError
from daemon.stdout import tell
from ipc.atomic import replace_file

_CALL_S = 400.0
"""More than TimeoutStartSec of the service."""


class Steps:
    """Does what it is asked for, in order."""

    def __init__(self, *, dry_run: bool) -> None:
        self._dry_run = dry_run

    def write(self, path: Path, text: str, mode: int = 0o644) -> bool:
        """Whether it has changed. Raises UnavailableError when *path* cannot be written."""
        try:
            before = path.read_text() if path.is_file() else None
            if before == text:
                tell(f"unchanged  {path}")
                return False
            self._say("write", "wrote" if before is None else "replaced", str(path))
            if not self._dry_run:
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, text.encode(), mode)
            return True
        except OSError as error:
            raise UnavailableError(f"{path} cannot be written: {error.strerror}", code="install") from error

    def remove(self, path: Path) -> None:
        """A file, or a folder with all that is in it. Raises UnavailableError."""
        if not path.exists() and not path.is_symlink():
            return
        self._say("remove", "removed", str(path))
        if self._dry_run:
            return
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as error:
            raise UnavailableError(f"{path} cannot be removed: {error.strerror}", code="install") from error

    def call(self, command: Sequence[str], hint: str = "", *, may_fail: bool = False) -> None:
        """Run *command*. Raises UnavailableError with what it said and *hint*, unless it *may_fail*."""
        self._say("run", "ran", " ".join(command))
        if self._dry_run:
            return
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_CALL_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnavailableError(f"{' '.join(command)} could not be run: {error}", code="install") from error
        if done.returncode != 0 and not may_fail:
            said = (done.stderr or done.stdout).strip().replace("\n", "; ")
            raise UnavailableError(f"{' '.join(command)} failed: {said or f'exit code {done.returncode}'}{hint}", code="install")

    def note(self, text: str) -> None:
        tell(f"note       {text}")

    def _say(self, doing: str, done: str, what: str) -> None:
        tell(f"would {doing:<6} {what}" if self._dry_run else f"{done:<10} {what}")
