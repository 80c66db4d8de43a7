"""The settings in force: what a reload may change while the daemon runs, and how its parts learn of it. Reads no file.

A change is made in two steps, so that it holds everywhere or nowhere: each part first *prepares* (and may refuse, by raising), then all of
them commit, which cannot fail.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from daemon.settings.model import Section, Settings

Commit = Callable[[], None]
Prepare = Callable[[Settings], Commit]
SectionT = TypeVar("SectionT", bound=Section)


@dataclass(frozen=True)
class Change:
    """Dotted keys whose values differ: *live* come into force at once, *waiting* at the next start."""

    live: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


class InForce:
    """Holds the settings that hold `now`. Whoever keeps something made of them registers with `on_change`."""

    def __init__(self, settings: Settings) -> None:
        self.now = settings
        self._prepares: list[Prepare] = []

    def on_change(self, prepare: Prepare) -> None:
        """*prepare* is given the settings to come; it raises a DaemonError if they cannot be, or returns what brings them into force."""
        self._prepares.append(prepare)

    def change(self, wanted: Settings) -> Change:
        """Bring into force what of *wanted* can change live.

        Raises:
            DaemonError: a part cannot follow; everything is as it was.
        """
        merged, change = merge(self.now, wanted)
        commits = [prepare(merged) for prepare in self._prepares]
        self.now = merged
        for commit in commits:
            commit()
        return change


def merge(now: Settings, wanted: Settings) -> tuple[Settings, Change]:
    """*now* with what of *wanted* can change live, and what the two differ in."""
    live: list[str] = []
    waiting: list[str] = []
    merged = _merged(now, wanted, "", live, waiting)
    return merged, Change(tuple(live), tuple(waiting))


def _merged(now: SectionT, wanted: SectionT, prefix: str, live: list[str], waiting: list[str]) -> SectionT:
    changes: dict[str, object] = {}
    for name in type(now).model_fields:
        before, after = getattr(now, name), getattr(wanted, name)
        if isinstance(before, Section) and isinstance(after, Section):
            changes[name] = _merged(before, after, f"{prefix}{name}.", live, waiting)
        elif before != after and name in now.live:
            live.append(prefix + name)
            changes[name] = after
        elif before != after:
            waiting.append(prefix + name)
    return now.model_copy(update=changes)
