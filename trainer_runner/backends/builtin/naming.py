"""OneTrainer's names for folders and files (`GenericTrainer.py`, `path_util.py`, `time_util.py`). Pure but for the look at what exists."""

from collections.abc import Callable
from datetime import datetime, timedelta

from trainer_runner.trainer.backend import Place

_SAFE = frozenset(" ._-#")
_SECOND = timedelta(seconds=1)


def safe_name(prompt: str) -> str:
    """The part of *prompt* that OneTrainer puts into a folder's name: letters, digits and ` ._-#`, 32 characters."""
    return "".join(character for character in prompt if character.isalnum() or character in _SAFE).strip()[:32].strip()


def counters(place: Place) -> str:
    return f"{place.global_step}-{place.epoch}-{place.epoch_step}"


class Stamps:
    """Time stamps for names that never repeat and never go back, in local time as OneTrainer's.

    Two files within one second would overwrite each other: the later one is named a second later, which keeps both the form
    that readers parse and the order that `sorted` gives.
    """

    def __init__(self, now: "Callable[[], datetime]" = datetime.now) -> None:
        self._now = now
        self._last = datetime.min  # noqa: DTZ901 - OneTrainer's stamps are local times without a zone

    def take(self, name: "Callable[[str], str]", is_taken: "Callable[[str], bool]") -> str:
        """`name(stamp)` for the first free stamp from now on."""
        stamp = max(self._now().replace(microsecond=0), self._last)
        while is_taken(name(_text(stamp))):
            stamp += _SECOND
        self._last = stamp
        return name(_text(stamp))


def _text(stamp: datetime) -> str:
    return stamp.strftime("%Y-%m-%d_%H-%M-%S")
