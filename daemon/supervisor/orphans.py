"""What the trainer of a dead runner says of its own end."""

from daemon.runs.fold import Record
from ipc.journal import JournalReader
from ipc.run_directory import AttemptDirectory


def orphan_report(attempt: AttemptDirectory) -> Record | None:
    """`{message, last_backup, model_path, global_step, outcome}` out of the orphan's journal; None when it wrote none."""
    reader = JournalReader(attempt.orphan_events)
    report: Record = {"last_backup": None, "model_path": None, "global_step": None, "outcome": None}
    finished = False
    try:
        while records := reader.read():
            for record in records:
                kind = record.get("type")
                finished = finished or kind == "trainer.finished"
                if kind == "backup":
                    report["last_backup"] = record.get("path")
                elif kind == "save":
                    report["model_path"] = record.get("path")
                elif kind == "trainer.finished":
                    report["outcome"] = record.get("outcome")
                if "global_step" in record:
                    report["global_step"] = record["global_step"]
    finally:
        reader.close()
    if reader.seq == 0:
        return None
    saved = [text for text, path in (("backed up", report["last_backup"]), ("saved its model", report["model_path"])) if path]
    report["message"] = (
        f"the runner died; its trainer {' and '.join(saved) or 'saved nothing'}, and "
        f"{'ended by itself' if finished else 'did not come to its end'} at step {report['global_step']}"
    )
    return report
