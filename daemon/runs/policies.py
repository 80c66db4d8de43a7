"""What a run is to do when it goes wrong, as asked for with it: the values that its journal and its view carry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, cast, get_args

from ipc.exit_record import FAILURES

STALLED, LOST = "stalled", "lost"
CAUSES = FAILURES | {STALLED, LOST}
"""What a restart policy may name: the exit causes that are failures; an end forced by the stall watch; a runner that died."""

StallAction = Literal["tell", "stop", "restart"]
DiskLevel = Literal["ok", "low", "held"]

STALL_COMMAND, DISK_COMMAND = "stall-", "disk-"
"""How the ids of commands begin that the stall watch (a kill, to be followed by a restart) and the disk guard send: the runner's
journal then says whose command it was, whatever happens to the daemon in between."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """On which causes, how often in a row, and how long to wait: *backoff_s*, doubled each time, at most *backoff_max_s*.

    An attempt that trained for *reset_after_s* seconds has shown that the run can live: the count begins anew. The default never restarts.
    """

    on: tuple[str, ...] = ()
    max_restarts: int = 5
    backoff_s: float = 10.0
    backoff_max_s: float = 600.0
    reset_after_s: float = 1800.0

    def wait_s(self, restarts: int) -> float:
        """Seconds before the restart that comes after *restarts* others."""
        return min(self.backoff_s * 2.0 ** min(restarts, 60), self.backoff_max_s)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Unknown fields are ignored, missing ones have their default. Raises TypeError or ValueError."""
        known = {name: float(value[name]) for name in ("backoff_s", "backoff_max_s", "reset_after_s") if name in value}
        return cls(tuple(str(cause) for cause in value.get("on", ())), int(value.get("max_restarts", cls().max_restarts)), **known)


@dataclass(frozen=True, slots=True)
class StallPolicy:
    """No step for *after_s* seconds (0: never looked at) is told, and followed by *action*.

    `stop` is the stop ladder, as asked for by a client. `restart` is a kill that the restart policy meets as the cause `stalled`.
    """

    after_s: float = 1800.0
    action: StallAction = "tell"

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """As `RestartPolicy.from_json`."""
        action = value.get("action", "tell")
        if action not in get_args(StallAction):
            raise ValueError(f"{action!r} is no action of the stall watch")
        return cls(float(value.get("after_s", cls().after_s)), cast("StallAction", action))
