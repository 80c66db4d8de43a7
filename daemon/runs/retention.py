"""Which ended runs are old enough to be removed. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.runs.states import ENDED
from daemon.runs.view import RunView

_DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Retention:
    """Keep the *keep_runs* newest ended runs, and those that ended in the last *keep_days* days; 0: no such limit."""

    keep_runs: int = 0
    keep_days: float = 0.0


def removable(retention: Retention, newest_first: Sequence[RunView], now: float) -> list[str]:
    """The ids of the runs beyond either limit. Only ended ones count, and are named."""
    ended = [view for view in newest_first if view.state in ENDED]
    beyond = {view.run_id for view in ended[retention.keep_runs :]} if retention.keep_runs else set()
    oldest = now - retention.keep_days * _DAY_S
    past = {view.run_id for view in ended if (view.ended or view.created) < oldest} if retention.keep_days else set()
    return [view.run_id for view in ended if view.run_id in beyond | past]
