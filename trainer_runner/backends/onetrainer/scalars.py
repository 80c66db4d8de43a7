"""Every scalar that OneTrainer writes for TensorBoard, taken on its way into the file."""

import math
from typing import Any

from trainer_runner.trainer.backend import NotFiniteLossError

_LOSSES = ("loss/train_step", "loss/loss")  # the second one until 2025


class Scalars:
    """Collects scalars by their 0-based step until the progress callback names the step 1-based."""

    def __init__(self) -> None:
        self._by_step: dict[int, dict[str, float]] = {}

    def tap(self, writer: Any) -> None:
        """Wrap `add_scalar` of the SummaryWriter *writer* on this one object. What it writes stays as it is."""
        original = writer.add_scalar

        def add_scalar(tag: str, scalar_value: Any, global_step: "int | None" = None, *args: Any, **kwargs: Any) -> Any:
            value = float(scalar_value)
            self._by_step.setdefault(int(global_step or 0), {})[tag] = value
            result = original(tag, scalar_value, global_step, *args, **kwargs)
            if tag in _LOSSES and math.isnan(value):
                # Newer versions raise by themselves; older ones would train on, and save NaN as the model.
                raise NotFiniteLossError(f"{tag} became NaN at step {int(global_step or 0) + 1}")
            return result

        writer.add_scalar = add_scalar

    def take_rest(self) -> "dict[int, dict[str, float]]":
        """What was written since, for a step that was not finished, by the `global_step` that it would have become."""
        rest = {step + 1: scalars for step, scalars in sorted(self._by_step.items())}
        self._by_step.clear()
        return rest

    def take(self, global_step: int) -> "dict[str, float]":
        """All scalars up to the step that OneTrainer now counts as *global_step*; empty between two optimizer steps."""
        taken: dict[str, float] = {}
        for step in sorted(step for step in self._by_step if step < global_step):
            taken.update(self._by_step.pop(step))
        return taken
