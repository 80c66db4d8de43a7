"""A run of the past, made without training: files as a runner and a daemon would have left them."""

from pathlib import Path

from ipc.atomic import replace_json
from ipc.journal import SEGMENT_BYTES, JournalWriter
from ipc.run_directory import RunDirectory


def make_run(path: Path, steps: int, segment_bytes: int = SEGMENT_BYTES) -> RunDirectory:
    """A run of *steps* steps that has completed: 2 records of the daemon's, *steps* + 2 of its one attempt."""
    run = RunDirectory(path)
    run.path.mkdir(parents=True)
    meta = {"v": 1, "id": path.name, "number": int(path.name[:6]), "created": 1.0, "backend": "onetrainer", "launcher": "direct"}
    replace_json(run.run, meta)
    replace_json(run.config, {})
    own = JournalWriter(run.daemon)
    own.append({"type": "run.queued", "after": [0, 0], "backend": "onetrainer"})
    own.append({"type": "run.starting", "after": [0, 0], "attempt": 1, "continue_from": None})
    own.close()
    run.attempt(1).create()
    journal = JournalWriter(run.attempt(1).events, segment_bytes=segment_bytes)
    journal.append({"type": "phase", "phase": "training"})
    for step in range(1, steps + 1):
        journal.append({
            "type": "step", "global_step": step, "epoch": 0, "epoch_step": step, "epoch_sample": step, "max_step": steps, "max_epoch": 1,
            "scalars": {"loss/train_step": 1 / step}, "text": "ünïcödé \u2028",
        })  # fmt: skip
    exit_record = {"v": 1, "cause": "completed", "message": "done", "evidence": {}, "code": 0, "outcome": "completed", "ended": 2.0}
    replace_json(run.attempt(1).exit, exit_record)
    journal.append({"type": "runner.exited", "exit": exit_record})
    journal.close()
    return run
