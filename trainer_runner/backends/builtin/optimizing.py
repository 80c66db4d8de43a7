"""The optimizer, its learning rate, and its state as plain tensors."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from trainer_runner.backends.builtin.config import TrainConfig


def make_optimizer(config: TrainConfig, parameters: "list[nn.Parameter]") -> torch.optim.Optimizer:
    own = config.optimizer
    if own.optimizer == "SGD":
        momentum = 0.9 if own.momentum is None else own.momentum
        return torch.optim.SGD(parameters, lr=config.learning_rate, momentum=momentum, weight_decay=own.weight_decay or 0.0)
    betas = (0.9 if own.beta1 is None else own.beta1, 0.999 if own.beta2 is None else own.beta2)
    eps = 1e-8 if own.eps is None else own.eps
    if own.optimizer == "ADAM":
        return torch.optim.Adam(parameters, lr=config.learning_rate, betas=betas, eps=eps, weight_decay=own.weight_decay or 0.0, fused=True)
    decay = 0.01 if own.weight_decay is None else own.weight_decay
    return torch.optim.AdamW(parameters, lr=config.learning_rate, betas=betas, eps=eps, weight_decay=decay, fused=True)


def learning_rate(config: TrainConfig, update: int, updates: int) -> float:
    """The rate of optimizer step *update* (0 for the first) of *updates*: OneTrainer's warm-up, then the schedule over the rest. Pure."""
    warmup = config.learning_rate_warmup_steps
    warmup = int(warmup / config.gradient_accumulation_steps) if warmup > 1 else int(warmup * updates)
    if update < warmup:
        return config.learning_rate * update / warmup
    progress = min(1.0, (update - warmup) / max(1, updates - warmup))
    factor = 1.0
    if config.learning_rate_scheduler == "LINEAR":
        factor = 1.0 - progress
    elif config.learning_rate_scheduler == "COSINE":
        factor = 0.5 * (1.0 + math.cos(math.pi * progress))
    return config.learning_rate * (config.learning_rate_min_factor + factor * (1.0 - config.learning_rate_min_factor))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def state_tensors(optimizer: torch.optim.Optimizer) -> "dict[str, Tensor]":
    """The optimizer's state by `<number of the parameter>.<name>`."""
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value).detach().cpu().contiguous()
        for index, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def restore_state(optimizer: torch.optim.Optimizer, tensors: "dict[str, Tensor]", parameters: "list[nn.Parameter]") -> None:
    """The inverse of `state_tensors`, in each parameter's memory layout: fused optimizers walk both with the same stride.

    Raises:
        ValueError, IndexError, RuntimeError: the tensors are not those of this optimizer.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        parameter = parameters[int(number)]
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter, requires_grad=False).copy_(value)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
