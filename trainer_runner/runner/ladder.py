"""The stop ladder: command, grace period, SIGTERM, SIGKILL. Pure: times come in, rungs come out."""

from typing import NamedTuple

LINGER_S = 60.0
"""How long a trainer may take to exit after it said that it is finished."""


class Rung(NamedTuple):
    """One thing to do now: *kind* is `command`, `term` or `kill`; *seconds* until the next rung, if it comes to that."""

    kind: str
    seconds: float


class StopLadder:
    """Climbs upwards alone. A further request can only shorten the way."""

    def __init__(self) -> None:
        self._level = 0  # 0 not asked, 1 command sent, 2 SIGTERM sent, 3 SIGKILL sent
        self._deadline: float | None = None
        self._term_s = 0.0

    @property
    def is_climbing(self) -> bool:
        return self._level > 0

    @property
    def deadline(self) -> "float | None":
        """When `due` will have something next."""
        return self._deadline

    @property
    def has_killed(self) -> bool:
        return self._level >= 3

    def request(self, now: float, grace_s: float, term_s: float, *, force: bool) -> "list[Rung]":
        """A stop is asked for; *force* goes straight to SIGKILL."""
        if force:
            return self._kill(now)
        if self._level == 0:
            self._level, self._term_s, self._deadline = 1, term_s, now + grace_s
            return [Rung("command", grace_s)]
        if self._level == 1 and self._deadline is not None:
            self._term_s = min(self._term_s, term_s)
            self._deadline = min(self._deadline, now + grace_s)
        return []

    def linger(self, now: float) -> None:
        """The trainer said its last word; from here it has `LINGER_S` to exit before it is told to."""
        if self._level <= 1:
            self._level, self._term_s = 1, min(self._term_s or LINGER_S, LINGER_S)
            self._deadline = now + LINGER_S

    def due(self, now: float) -> "list[Rung]":
        """The rungs whose time has come."""
        if self._deadline is None or now < self._deadline:
            return []
        if self._level == 1:
            self._level, self._deadline = 2, now + self._term_s
            return [Rung("term", self._term_s)]
        return self._kill(now)

    def _kill(self, now: float) -> "list[Rung]":
        again_s = 1.0  # the group may have grown between the look and the kill
        first = self._level < 3
        self._level, self._deadline = 3, now + again_s
        return [Rung("kill" if first else "kill_again", again_s)]
