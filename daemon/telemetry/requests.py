"""Counts of answered requests, by route template and never by path: a stranger cannot make new series."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
NO_ROUTE = "(none)"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


@dataclass
class Durations:
    """How many answers took at most as long as each bound of `BUCKETS_S`, none of them counted twice; the last is beyond all."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    total_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.total_s += seconds

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """As Prometheus wants them: (upper bound, how many were not above it)."""
        below = 0
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self.counts, strict=True):
            below += count
            yield bound, below


class RequestMeter:
    """Filled by the middleware `daemon/api/observing.py`, on the event loop."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str, str], int] = {}
        """(method, route, status) → answers."""
        self.durations: dict[tuple[str, str], Durations] = {}
        """(method, route) → how long until the answer was ready; streams are not in it."""

    def observe(self, method: str, route: str, status: str, seconds: float | None) -> None:
        """*seconds* is None for what streams, and for what broke off."""
        method = method if method in _METHODS else "other"
        self.counts[method, route, status] = self.counts.get((method, route, status), 0) + 1
        if seconds is not None:
            self.durations.setdefault((method, route), Durations()).add(seconds)
