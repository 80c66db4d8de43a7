"""Whether a run that has failed is started again, when, and after how many times no more. Pure: the times are those of the records."""

from dataclasses import dataclass

from daemon.runs.policies import RestartPolicy


@dataclass(frozen=True, slots=True)
class Again:
    """Start again *at* (Unix seconds); it is restart number *restarts* since the last reset."""

    at: float
    restarts: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Leave it failed. *why* is a clause for its error, None where the policy does not speak of the cause."""

    why: str | None = None


def decide(policy: RestartPolicy, cause: str, *, restarts: int, trained_s: float, ended: float) -> Again | GiveUp:
    """What follows the end of an attempt by *cause* at *ended*, that trained for *trained_s* and was restart number *restarts*."""
    if cause not in policy.on:
        return GiveUp()
    so_far = 0 if trained_s >= policy.reset_after_s else restarts
    if so_far >= policy.max_restarts:
        return GiveUp(f"given up after {so_far} restart{'' if so_far == 1 else 's'} (max_restarts = {policy.max_restarts})")
    return Again(ended + policy.wait_s(so_far), so_far + 1)


def remaining_s(policy: RestartPolicy, at: float, now: float) -> float:
    """Seconds from *now* to a restart *at*. A clock that was set back cannot make it longer than the policy's longest wait."""
    return min(max(0.0, at - now), policy.backoff_max_s)
