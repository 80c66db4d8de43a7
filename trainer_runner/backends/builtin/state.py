"""The state of a training: built anew or from a backup, and turned into one. No file is touched here."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from trainer_runner.backends.builtin.backups import Backup, BackupError
from trainer_runner.backends.builtin.concepts import Dataset
from trainer_runner.backends.builtin.config import TrainConfig
from trainer_runner.backends.builtin.ema import Ema
from trainer_runner.backends.builtin.model import FlowModel, Shape
from trainer_runner.backends.builtin.optimizing import make_optimizer, restore_state, state_tensors
from trainer_runner.backends.builtin.saves import prepared
from trainer_runner.backends.builtin.text import Vocabulary
from trainer_runner.trainer.backend import ConfigError, Place


@dataclass
class SmoothLoss:
    """OneTrainer's running average of the loss: a true mean at first, then with a decay of 0.99."""

    value: float = 0.0
    steps: int = 0

    def add(self, loss: float) -> float:
        self.value = self.value if self.steps else loss
        self.steps += 1
        decay = min(0.99, 1 - 1 / self.steps)
        self.value = self.value * decay + loss * (1 - decay)
        return self.value


@dataclass
class State:
    model: FlowModel
    parameters: "list[nn.Parameter]"
    optimizer: torch.optim.Optimizer
    ema: "Ema | None"
    place: Place
    smooth: SmoothLoss = field(default_factory=SmoothLoss)

    def to_backup(self, optimizer_name: str) -> Backup:
        """References to the live tensors: write them before the next step."""
        names = [name for name, _ in self.model.named_parameters()]
        return Backup(
            place=self.place,
            shape=self.model.shape,
            words=list(self.model.vocabulary.words),
            weights=dict(self.model.state_dict()),
            ema=dict(zip(names, self.ema.weights, strict=True)) if self.ema else None,
            optimizer=state_tensors(self.optimizer),
            optimizer_name=optimizer_name,
            smooth_loss=[self.smooth.value, self.smooth.steps],
        )


def new_state(config: TrainConfig, dataset: Dataset) -> State:
    """Fresh weights from the config's seed; the vocabulary from the data's captions."""
    torch.manual_seed(config.seed)
    shape = Shape(side=config.resolution, channels=int(dataset.images.shape[1]))
    return _assembled(config, FlowModel(shape, Vocabulary.of(dataset.captions)), Place())


def continued_state(config: TrainConfig, backup: Backup, warnings: "list[str]") -> State:
    """The state in *backup*. What the config has changed since is taken over where that can be, with a line in *warnings*.

    Raises:
        BackupError: its tensors are not those of its own shape.
        ConfigError: its resolution is not the config's.
    """
    if backup.shape.side != config.resolution:
        raise ConfigError(f"resolution is {config.resolution}: the backup's is {backup.shape.side}; set it back, or begin anew")
    state = _assembled(config, FlowModel(backup.shape, Vocabulary(backup.words)), backup.place)
    state.smooth = SmoothLoss(backup.smooth_loss[0], int(backup.smooth_loss[1]))
    try:
        state.model.load_state_dict(backup.weights)
        if state.ema is not None:
            averaged: dict[str, Any] = backup.ema if backup.ema is not None else backup.weights
            state.ema.weights = [
                torch.empty_like(parameter, requires_grad=False).copy_(averaged[name]) for name, parameter in state.model.named_parameters()
            ]
        if backup.optimizer_name == config.optimizer.optimizer:
            restore_state(state.optimizer, backup.optimizer, state.parameters)
        else:
            warnings.append(f"the optimizer was {backup.optimizer_name} and is {config.optimizer.optimizer}: it begins anew")
    except (RuntimeError, KeyError, IndexError, ValueError) as error:
        raise BackupError(f"the backup's tensors do not fit its own description: {error}") from error
    return state


def _assembled(config: TrainConfig, model: FlowModel, place: Place) -> State:
    model = prepared(model, torch.device(config.train_device)).train()
    parameters = list(model.parameters())
    ema = None if config.ema == "OFF" else Ema(parameters, config.ema_decay, config.ema_update_step_interval)
    return State(model, parameters, make_optimizer(config, parameters), ema, place)
