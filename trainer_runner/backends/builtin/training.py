"""The loop: steps, and what falls due or is commanded between them."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from ipc.messages import Command
from trainer_runner.backends.builtin.commands import Commands
from trainer_runner.backends.builtin.concepts import Dataset
from trainer_runner.backends.builtin.config import TrainConfig, read_sample
from trainer_runner.backends.builtin.intervals import Intervals
from trainer_runner.backends.builtin.optimizing import learning_rate, set_learning_rate
from trainer_runner.backends.builtin.outputs import Outputs, SamplesFailedError, say
from trainer_runner.backends.builtin.sampling import InterruptedSamplingError
from trainer_runner.backends.builtin.scalars import Scalars
from trainer_runner.backends.builtin.seeds import generator
from trainer_runner.backends.builtin.state import State
from trainer_runner.trainer.backend import ConfigError, NotFiniteLossError
from trainer_runner.trainer.session import Session

# The parts of the images that are learned without their caption (for guidance), and with unknown words in it (to make little of them).
_WITHOUT_CAPTION, _WITH_NOISE, _NOISES = 0.1, 0.2, 4
_ADVICE = "try a lower learning_rate or clip_grad_norm, and continue from the last backup"


class Training:
    """One attempt. `run` returns when the epochs are done or the training is to end."""

    def __init__(
        self, session: Session, config: TrainConfig, state: State, dataset: Dataset, commands: Commands, outputs: Outputs, scalars: Scalars
    ) -> None:
        self.steps_done = 0
        self._session = session
        self._config = config
        self._state = state
        self._commands = commands
        self._outputs = outputs
        self._scalars = scalars
        self._device = torch.device(config.train_device)
        self._images = dataset.images
        self._dataset = dataset
        self._captions = _CaptionTable(state, dataset.captions)
        self.images_per_epoch = len(dataset)
        self._steps_per_epoch = len(dataset) // config.batch_size
        self._updates = self._steps_per_epoch * config.epochs // config.gradient_accumulation_steps
        self._intervals = Intervals(time.monotonic)
        self._due: set[str] = set()
        self._loss_sum = 0.0
        self._has_gradient = False
        self._is_held = False
        self._status = ""

    def run(self) -> None:
        """Raises NotFiniteLossError before a broken step reaches the weights."""
        state, batch = self._state, self._config.batch_size
        state.place = state.place._replace(max_step=self._steps_per_epoch, max_epoch=self._config.epochs)
        while state.place.epoch < self._config.epochs:
            self._say_status("Starting epoch/caching")
            order = self._dataset.order(self._config.seed, state.place.epoch)
            while state.place.epoch_sample + batch <= len(order):
                self.between_steps()
                if self._commands.is_ending() and not self._has_gradient:
                    return
                self._say_status("Training ...")
                self._step(order[state.place.epoch_sample : state.place.epoch_sample + batch])
            epoch = f"epoch {state.place.epoch + 1}/{self._config.epochs}"
            say(f"{epoch}, step {state.place.global_step}: smooth loss {state.smooth.value:.4f}")
            state.place = state.place._replace(epoch=state.place.epoch + 1, epoch_step=0, epoch_sample=0)
        self._carry_out_commands()  # those that fell on the last step

    def between_steps(self) -> None:
        """What is due is remembered until no gradient is pending: a backup could not hold one."""
        if not self._has_gradient:
            self._session.hold_while_paused(self._serve_while_held)
        if not self._commands.is_ending():
            self._note_due()
        if self._has_gradient:
            return
        self._act_on_due()
        self._carry_out_commands()
        self._session.hold_while_paused(self._serve_while_held)  # asked for during a long sampling: no step more

    def _note_due(self) -> None:
        config, place, intervals = self._config, self._state.place, self._intervals
        if intervals.has_passed(config.sample_skip_first, config.sample_after_unit, place) and intervals.is_due(
            "sample", config.sample_after, config.sample_after_unit, place, at_zero=True
        ):
            self._due.add("sample")
        if intervals.is_due("backup", config.backup_after, config.backup_after_unit, place, at_zero=False):
            self._due.add("backup")
        if intervals.has_passed(config.save_skip_first, config.save_every_unit, place) and intervals.is_due(
            "save", config.save_every, config.save_every_unit, place, at_zero=False
        ):
            self._due.add("save")

    def _act_on_due(self) -> None:
        due, self._due = self._due, set()
        if "sample" in due and self._config.samples and not self._commands.is_ending():
            with self.phase("sampling"):
                try:
                    self._outputs.default_samples(self._commands.is_ending)
                except (InterruptedSamplingError, SamplesFailedError):
                    pass  # given up for the end, or told one by one
        for name, act in (("backup", self._outputs.backup), ("save", self._outputs.save)):
            if name in due:
                with self.phase("saving"):
                    self._attempt(name, act)

    def _attempt(self, where: str, act: "Callable[[str], object]") -> None:
        """As in OneTrainer, a backup or save that fails does not end a training; here it is told."""
        try:
            act("interval")
        except Exception as error:  # noqa: BLE001 - see above
            self._session.error(where, error)

    def _carry_out_commands(self) -> None:
        for command in self._commands.waiting():
            with self.phase("sampling" if command.name == "sample" else "saving"):
                try:
                    self._session.done(command.id, self._carry_out(command))
                except InterruptedSamplingError as error:
                    self._session.failed(command.id, "run_ended", str(error))
                except ConfigError as error:
                    self._session.failed(command.id, "invalid", str(error))
                except SamplesFailedError as error:
                    self._session.failed(command.id, "failed", str(error))
                except Exception as error:  # noqa: BLE001 - a command that fails does not end a training
                    self._session.error(command.name if command.name in ("backup", "save") else "sample", error)
                    self._session.failed(command.id, "failed", f"{type(error).__name__}: {error}")

    def _carry_out(self, command: Command) -> "dict[str, object]":
        side = self._state.model.shape.side
        match command.name:
            case "backup":
                return {"path": str(self._outputs.backup("command"))}
            case "save":
                return {"path": str(self._outputs.save("command"))}
            case "sample" if command.args.get("sample"):
                if not isinstance(command.args["sample"], dict):
                    raise ConfigError(f"sample is {command.args['sample']!r}: an object was expected")
                sample = read_sample(command.args["sample"])
                path = self._outputs.custom_sample(sample, self._commands.is_ending, command.id)
                return {"paths": [str(path)], "width": side, "height": side}
            case "sample":
                if not any(sample.enabled for sample in self._config.samples or ()):
                    raise ConfigError("the config has no samples that are enabled: name one in the command")
                paths = self._outputs.default_samples(self._commands.is_ending, command.id)
                return {"paths": [str(path) for path in paths], "width": side, "height": side}
        raise ConfigError(f"no command is called {command.name!r}")

    def _serve_while_held(self) -> None:
        self._is_held = True
        try:
            self._carry_out_commands()
        finally:
            self._is_held = False

    @contextmanager
    def phase(self, phase: str) -> "Iterator[None]":
        """Tell *phase* and then `training` again; nothing during a pause, which is the phase of its own that clients see."""
        if not self._is_held:
            self._session.phase(phase, self._state.place)
        try:
            yield
        finally:
            self._status = ""
            if not self._is_held:
                self._session.phase("training", self._state.place)

    def _say_status(self, text: str) -> None:
        if text != self._status:
            self._status = text
            self._session.status(text)

    def _step(self, indices: Tensor) -> None:
        config, state = self._config, self._state
        loss = self._loss(indices) / config.gradient_accumulation_steps
        value = loss.item()
        if not math.isfinite(value):
            self._scalars.add({"loss/train_step": value}, state.place.global_step)
            self._session.scalars(state.place.global_step + 1, {"loss/train_step": value})
            raise NotFiniteLossError(f"the loss became {value} at global step {state.place.global_step}: {_ADVICE}")
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._loss_sum += value
        self._has_gradient = True
        before = state.place
        is_update = (before.global_step + 1) % config.gradient_accumulation_steps == 0
        scalars = self._update(before.global_step) if is_update else {}
        state.place = before._replace(
            global_step=before.global_step + 1, epoch_step=before.epoch_step + 1, epoch_sample=before.epoch_sample + config.batch_size
        )
        self.steps_done += 1
        if scalars:
            self._scalars.add(scalars, before.global_step)
            self._session.step(state.place, scalars)

    def _update(self, global_step: int) -> "dict[str, float]":
        """The optimizer's step; its scalars by OneTrainer's tags."""
        config, state = self._config, self._state
        update = global_step // config.gradient_accumulation_steps
        rate = learning_rate(config, update, self._updates)
        set_learning_rate(state.optimizer, rate)
        norm = nn.utils.clip_grad_norm_(state.parameters, math.inf if config.clip_grad_norm is None else config.clip_grad_norm)
        if not bool(norm.isfinite()):
            raise NotFiniteLossError(f"the gradients became {norm.item()} at global step {global_step}: {_ADVICE}")
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        self._has_gradient = False
        scalars = {"loss/train_step": self._loss_sum, "smooth_loss/train_step": state.smooth.add(self._loss_sum), "lr/unet": rate}
        self._loss_sum = 0.0
        if state.ema is not None:
            scalars["ema_decay"] = state.ema.decay_at(update)
            state.ema.step(update)
        return scalars

    def _loss(self, indices: Tensor) -> Tensor:
        """Flow matching: on the straight way from noise (time 0) to the image (time 1), the velocity is image - noise everywhere."""
        random = generator(self._config.seed, "step", self._state.place.global_step)
        images = self._images[indices].float().div_(127.5).sub_(1.0)
        noise = torch.randn(images.shape, generator=random)
        times = torch.randn(len(images), generator=random).sigmoid_()  # the middle of the way is the hard part
        tokens = self._captions.pick(indices, torch.rand(len(images), generator=random))
        between = torch.lerp(noise, images, times[:, None, None, None])
        between = between.to(self._device, memory_format=torch.channels_last)
        predicted = self._state.model(between, times.to(self._device), tokens.to(self._device))
        return F.mse_loss(predicted, (images - noise).to(self._device))


class _CaptionTable:
    """The captions of all images as tokens, each different caption once: as it is, with noise in several forms, and none."""

    def __init__(self, state: State, captions: "list[str]") -> None:
        vocabulary = state.model.vocabulary
        different = sorted(set(captions))
        numbers = {caption: number for number, caption in enumerate(different)}
        self._of_image = torch.tensor([numbers[caption] for caption in captions], dtype=torch.long)
        noisy = [vocabulary.batch(different, noise_seed=f"noise {number}") for number in range(_NOISES)]
        tables = [vocabulary.batch(different), *noisy, vocabulary.batch([""] * len(different))]
        width = max(table.shape[1] for table in tables)
        self._tables = torch.stack([F.pad(table, (0, width - table.shape[1])) for table in tables]).to(torch.int16)  # MAX_WORDS fits

    def pick(self, indices: Tensor, chance: Tensor) -> Tensor:
        """(batch, length) tokens; *chance* in 0 to 1 says for each image how its caption is read."""
        noisy = 1 + ((chance - _WITHOUT_CAPTION) / _WITH_NOISE * _NOISES).to(torch.int64).clamp(0, _NOISES - 1)
        form = torch.where(chance < _WITHOUT_CAPTION + _WITH_NOISE, noisy, 0)
        form[chance < _WITHOUT_CAPTION] = _NOISES + 1
        tokens = self._tables[form, self._of_image[indices]].int()
        return tokens[:, : int((tokens != 0).sum(dim=1).max())]
