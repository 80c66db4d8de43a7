"""The running average of the weights (the rule of OneTrainer's `EMAModule.py`)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Lives beside *parameters*, on their device and in their memory layout."""

    def __init__(self, parameters: "list[nn.Parameter]", decay: float, interval: int) -> None:
        self._parameters = parameters
        self._decay = decay
        self._interval = interval
        self.weights = [parameter.detach().clone() for parameter in parameters]

    def decay_at(self, update: int) -> float:
        """The decay of optimizer step *update*, 0 for the first: young averages follow faster."""
        return min((1 + update) / (10 + update), self._decay)

    @torch.no_grad()
    def step(self, update: int) -> None:
        if (update + 1) % self._interval == 0:
            torch._foreach_lerp_(self.weights, [parameter.detach() for parameter in self._parameters], 1 - self.decay_at(update))

    @contextmanager
    def applied(self) -> "Iterator[None]":
        """Within it the model has the averaged weights; afterwards its own again, to the last bit, also after an error."""
        own = [parameter.detach().clone() for parameter in self._parameters]
        self.copy_to_model(self.weights)
        try:
            yield
        finally:
            self.copy_to_model(own)

    @torch.no_grad()
    def copy_to_model(self, weights: "list[Tensor]") -> None:
        for parameter, weight in zip(self._parameters, weights, strict=True):
            parameter.copy_(weight)
