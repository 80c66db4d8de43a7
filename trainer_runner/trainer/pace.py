"""How fast a training goes: elapsed seconds and steps per second, with the time of a pause left out."""

from collections import deque

_WINDOW_S = 30.0


class Pace:
    """Pure: times come in as arguments (monotonic seconds)."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._held = 0.0
        self._recent: deque[tuple[float, int]] = deque()

    def hold(self, seconds: float) -> None:
        """The training stood still for *seconds*."""
        self._held += seconds
        self._recent = deque((time + seconds, step) for time, step in self._recent)

    def begin(self, now: float) -> None:
        if self._started is None:
            self._started = now

    def step(self, now: float, global_step: int) -> "tuple[float, float]":
        """(elapsed seconds since `begin`, steps per second over the last half minute; 0.0 while unknown)."""
        self.begin(now)
        assert self._started is not None
        self._recent.append((now, global_step))
        while len(self._recent) > 2 and now - self._recent[0][0] > _WINDOW_S:
            self._recent.popleft()
        first_time, first_step = self._recent[0]
        span = now - first_time
        speed = (global_step - first_step) / span if span > 0 else 0.0
        return now - self._started - self._held, speed
