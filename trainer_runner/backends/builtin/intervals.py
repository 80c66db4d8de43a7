"""When something is due: OneTrainer's rule (`modules/util/TimedActionMixin.py`), quirks included. Pure: the clock is an argument."""

from collections.abc import Callable

from trainer_runner.trainer.backend import Place

_SECONDS = {"SECOND": 1.0, "MINUTE": 60.0, "HOUR": 3600.0}


class Intervals:
    """One per training. Asked before each batch, so that `global_step` counts the batches done."""

    def __init__(self, clock: "Callable[[], float]") -> None:
        self._clock = clock
        self._start = clock()
        self._previous: dict[str, float] = {}

    def is_due(self, name: str, interval: float, unit: str, place: Place, *, at_zero: bool) -> bool:
        """Whether the repeated action *name* is due. Without *at_zero*, `7 STEP` is due at 6, 13, … and epochs from the second on.

        An interval of 0 is never due: OneTrainer says so for steps and epochs, and would act before every batch for times.
        """
        if unit == "ALWAYS":
            return True
        if unit == "NEVER" or interval <= 0:
            return False
        if unit in _SECONDS:
            return self._has_elapsed(name, interval * _SECONDS[unit], at_zero)
        every = max(1, int(interval))
        if unit == "STEP":
            return (place.global_step + (0 if at_zero else 1)) % every == 0
        return place.epoch % every == 0 and place.epoch_step == 0 and (at_zero or place.epoch > 0)

    def has_passed(self, delay: float, unit: str, place: Place) -> bool:
        """Whether the first *delay* of the training is over, for `sample_skip_first` and `save_skip_first`."""
        match unit:
            case "EPOCH":
                return place.epoch + 1 > int(delay)
            case "STEP":
                return place.global_step + 1 > int(delay)
            case "NEVER":
                return False
            case "ALWAYS":
                return True
        return self._clock() - self._start > delay * _SECONDS[unit] or delay <= 0

    def _has_elapsed(self, name: str, seconds: float, at_zero: bool) -> bool:
        now = self._clock()
        previous = self._previous.setdefault(name, float("-inf") if at_zero else now)
        if now - previous <= seconds:
            return False
        self._previous[name] = now
        return True
