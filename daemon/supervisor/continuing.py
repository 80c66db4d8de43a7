"""Which backup a restart goes on from: the newest whole one that the run itself has made. Blocking: looks at the disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon.files.backups import BACKUPS, progress_of
from daemon.runs.policies import LOST
from daemon.runs.states import ENDED, RunState
from daemon.runs.view import RunView

_CLOCK_SLACK_S = 2.0
"""File systems note times by a coarser clock than ours, and network ones by their server's."""


def backup_to_continue(view: RunView) -> str | None:
    """The backup that the run told of last if it is still whole, else the newest whole one in its workspace that is not older than
    the run; None when there is none. After a dead runner the workspace comes first: nobody heard of the last backups.
    """
    told = view.last_backup if view.last_backup and progress_of(Path(view.last_backup)) is not None else None
    if told is not None and view.cause != LOST:
        return told
    found = _newest_in_workspace(view)
    return str(found) if found is not None else told


def may_need(view: RunView, meta: Mapping[str, Any], backup: Path) -> bool:
    """Whether the run may still write *backup*, or go on from it: it has not ended, and *backup* lies where it writes or begins. Pure.

    A run that waits for its place has no workspace yet, but run.json (*meta*) says what it will write.
    """
    if view.state in ENDED and (view.state is not RunState.LOST or view.orphan_gone):
        return False
    places = [place for place in (view.workspace_dir, *meta.get("writes", ())) if place]
    starts = [start for start in (meta.get("continue_from"), view.last_backup, view.continued_from) if start]
    return not places or any(backup.is_relative_to(place) for place in places) or str(backup) in starts


def _newest_in_workspace(view: RunView) -> Path | None:
    if view.workspace_dir is None or view.started is None:
        return None
    folder = Path(view.workspace_dir) / BACKUPS
    try:
        dated = [((backup / "meta.json").stat().st_mtime, backup) for backup in folder.iterdir() if progress_of(backup) is not None]
    except OSError:
        return None
    own = [(made, backup) for made, backup in dated if made >= view.started - _CLOCK_SLACK_S]
    return max(own, default=(0.0, None))[1]
