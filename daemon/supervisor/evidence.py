"""What a stalled trainer looks like from outside: its process and the end of its console. Blocking: reads files."""

import os
from pathlib import Path

from daemon.runs.fold import Record
from daemon.supervisor.adoption import identities
from ipc.run_directory import AttemptDirectory

_TAIL_BYTES = 8192
_LINE_CHARACTERS = 400


def trainer_evidence(attempt: AttemptDirectory) -> Record:
    """`{process_state, cpu_s, console}`; None for what cannot be known. *process_state* is a letter of proc(5): R computes, S sleeps,
    D waits for a disk or a driver, T is stopped. *cpu_s* counts all its threads since its start.
    """
    state, cpu_s = _process(attempt)
    return {"process_state": state, "cpu_s": cpu_s, "console": _last_line(attempt.console)}


def _process(attempt: AttemptDirectory) -> tuple[str | None, float | None]:
    _, trainer = identities(attempt)
    if trainer is None or not trainer.is_alive():
        return None, None
    try:
        stat = Path(f"/proc/{trainer.pid}/stat").read_bytes()
    except OSError:
        return None, None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return fields[0].decode(), round((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), 2)


def _last_line(console: Path) -> str | None:
    try:
        with console.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return None
    lines = [line.strip() for line in text.replace("\r", "\n").split("\n") if line.strip()]
    return lines[-1][-_LINE_CHARACTERS:] if lines else None
