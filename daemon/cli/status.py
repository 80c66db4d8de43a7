"""`onetrainerd status`: what the daemon is doing, in a few lines."""

import json
from typing import Any

from daemon.cli.client import ask, endpoint
from daemon.errors import InvalidError, NotFoundError, UnavailableError
from daemon.settings.model import Settings
from daemon.stdout import tell

_NO_DAEMON = 3


def show(settings: Settings, *, as_json: bool) -> int:
    """Print the status; 0, or 3 when no daemon answers."""
    try:
        training = ask(settings.state_dir, "/training/status")
        progress = ask(settings.state_dir, "/training/progress")
        runs = ask(settings.state_dir, "/runs")["runs"]
    except (InvalidError, NotFoundError, UnavailableError) as error:
        tell(json.dumps({"daemon": None, "error": error.message}) if as_json else f"no daemon: {error.message}")
        return _NO_DAEMON
    url = endpoint(settings.state_dir)
    if as_json:
        tell(json.dumps({"daemon": url, "training": training, "progress": progress, "runs": runs}, indent=2))
        return 0
    tell(f"{url}: {training['status']}" + (f" ({training['error']})" if training["error"] else ""))
    for run in runs[:10]:
        tell(f"  {run['id']}  {run['state']:<16} {_where(run)}")
    return 0


def _where(run: dict[str, Any]) -> str:
    progress = run.get("progress")
    if not progress:
        return str(run.get("error") or "")
    loss = progress.get("loss")
    return f"step {progress['global_step']}, epoch {progress['epoch']}" + (f", loss {loss}" if loss is not None else "")
