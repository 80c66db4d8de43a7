"""Trains two numbers, in OneTrainer's order of calls, files and silences."""

import copy
import json
import math
import os
import shutil
import time
import traceback
from collections.abc import Callable
from datetime import datetime
from typing import Any

from modules.modelSampler.ModelSampler import ModelSampler
from modules.modelSaver.ModelSaver import ModelSaver
from modules.trainer.SummaryWriter import SummaryWriter
from modules.util.config.SampleConfig import SampleConfig
from modules.util.enum.ConceptType import ConceptType
from modules.util.enum.ModelFormat import ModelFormat
from modules.util.enum.TimeUnit import TimeUnit
from modules.util.TrainProgress import TrainProgress

STEP_S = 0.004
_IMAGES = (".png", ".jpg")


class Model:
    def __init__(self) -> None:
        self.weight = 1.0
        self.average = 1.0
        self.train_progress = TrainProgress()


class GenericTrainer:
    def __init__(self, config: Any, callbacks: Any, commands: Any, global_commands: Any = None) -> None:
        self.config = config
        self.callbacks = callbacks
        self.commands = commands
        self._global_commands = global_commands
        folder = os.path.join(config.workspace_dir, "tensorboard")
        self.tensorboard = SummaryWriter(os.path.join(folder, f"{config.save_filename_prefix}{_timestamp()}"))
        self.one_step_trained = False
        self._images: dict[ConceptType, int] = {}

    def start(self) -> None:
        config = self.config
        path = os.path.join(config.workspace_dir, "config")
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, f"{config.save_filename_prefix}{_timestamp()}.json"), "w") as file:
            json.dump(config.to_pack_dict(secrets=False), file)
        self.callbacks.on_update_status("loading the model")
        last_backup = None
        if config.continue_last_backup:
            self.callbacks.on_update_status("searching for previous backups")
            last_backup = config.get_last_backup_path()
        self.callbacks.on_update_status("loading the model")
        self.model = self.__load(last_backup or config.lora_model_name)
        self.callbacks.on_update_status("running model setup")
        self.callbacks.on_update_status("creating the data loader/caching")
        for concept in config.concepts:
            if concept.enabled:
                images = sum(name.endswith(_IMAGES) for name in os.listdir(concept.path))
                self._images[concept.type] = self._images.get(concept.type, 0) + images
        self.model_saver = ModelSaver()
        self.model_sampler = ModelSampler()
        self._queue: list[Callable[[], None]] = []

    def train(self) -> None:
        config, progress = self.config, self.model.train_progress
        if config.only_cache:
            self.callbacks.on_update_status("Caching")
            return
        length = self._images.get(ConceptType.STANDARD, 0) // config.batch_size
        smooth_loss, steps, has_gradient = None, 0, False
        for _ in range(progress.epoch, config.epochs):
            if self.commands.get_stop_command():
                return
            self.callbacks.on_update_status("Starting epoch/caching")
            for _ in range(progress.epoch_step, length):
                self.__look_at_commands(has_gradient)
                self.callbacks.on_update_status("Training ...")
                time.sleep(STEP_S)
                has_gradient = True
                if (progress.global_step + 1) % config.gradient_accumulation_steps == 0:
                    has_gradient = False
                    loss = self.__optimizer_step()
                    steps += 1
                    decay = min(0.99, 1 - 1 / steps)
                    smooth_loss = (smooth_loss or loss) * decay + loss * (1 - decay)
                    self.tensorboard.add_scalar("smooth_loss/train_step", smooth_loss, progress.global_step)
                    if config.ema != "OFF":
                        self.tensorboard.add_scalar("ema_decay", config.ema_decay, progress.global_step)
                    self.one_step_trained = True
                if config.validation and self.__is_due(config.validate_after, config.validate_after_unit, from_zero=True):
                    self.callbacks.on_update_status("Calculating validation loss")
                    self.tensorboard.add_scalar("loss/validation_step/shapes", abs(self.model.weight), progress.global_step)
                progress.epoch_step += 1
                progress.epoch_sample += config.batch_size
                progress.global_step += 1
                self.callbacks.on_update_train_progress(progress, length, config.epochs)
                if self.commands.get_stop_command():
                    return
            progress.epoch += 1
            progress.epoch_step = progress.epoch_sample = 0
            self.callbacks.on_update_train_progress(progress, length, config.epochs)
            if self.commands.get_stop_command():
                return

    def end(self) -> None:
        if self.one_step_trained:
            if self.config.backup_before_save:
                self.__backup(self.model.train_progress)
            self.callbacks.on_update_status("Saving the final model")
            path = self.config.output_model_destination
            print("Saving " + path)
            self.model_saver.save(
                model=self.model, model_type=self.config.model_type, output_model_format=self.config.output_model_format,
                output_model_destination=path, dtype=None,
            )  # fmt: skip
        self.tensorboard.close()

    def __load(self, backup: Any) -> Model:
        model = Model()
        if not os.path.exists(self.config.base_model_name):
            raise Exception("could not load model: " + self.config.base_model_name)
        if backup:
            try:
                with open(os.path.join(backup, "meta.json")) as file:
                    model.train_progress = TrainProgress(**json.load(file)["train_progress"])
                with open(os.path.join(backup, "lora", "lora.safetensors")) as file:
                    weights = json.load(file)
            except OSError:
                raise Exception("could not load LoRA: " + backup) from None
            model.weight, model.average = weights["weight"], weights["average"]
        return model

    def __optimizer_step(self) -> float:
        step, model = self.model.train_progress.global_step, self.model
        loss = (model.weight - 0.25) * (model.weight - 0.25) + 0.1 / (1 + step)
        model.weight -= self.config.learning_rate * 2 * (model.weight - 0.25)
        model.average = model.average * 0.9 + model.weight * 0.1
        self.tensorboard.add_scalar("lr/unet_lora", self.config.learning_rate, step)
        if math.isnan(loss):
            raise RuntimeError("Training loss became NaN. This may be due to anything.")
        self.tensorboard.add_scalar("loss/train_step", loss, step)
        return loss

    def __look_at_commands(self, has_gradient: bool) -> None:
        config = self.config
        if self._global_commands is not None:
            self.commands.merge(self._global_commands)
        if (not self.commands.get_stop_command() and self.__is_due(config.sample_after, config.sample_after_unit, from_zero=True)) \
                or self.commands.get_and_reset_sample_default_command():  # fmt: skip
            self._queue.append(lambda: self.__sample(config.samples, is_custom=False))
        if self.__is_due(config.backup_after, config.backup_after_unit):
            self.commands.backup()
        if self.__is_due(config.save_every, config.save_every_unit):
            self.commands.save()
        custom = self.commands.get_and_reset_sample_custom_commands()
        if custom:
            self._queue.append(lambda: self.__sample(custom, is_custom=True))
        if has_gradient:
            return
        for sample in self._queue:
            sample()
        self._queue = []
        backup, save = self.commands.get_and_reset_backup_command(), self.commands.get_and_reset_save_command()
        if backup:
            self.__backup(self.model.train_progress)
        if save:
            self.__save()

    def __is_due(self, every: int, unit: TimeUnit, from_zero: bool = False) -> bool:
        progress = self.model.train_progress
        if unit is TimeUnit.STEP and every:
            return (progress.global_step + (0 if from_zero else 1)) % every == 0
        if unit is TimeUnit.EPOCH and every:
            return progress.epoch % every == 0 and progress.epoch_step == 0 and (from_zero or progress.epoch > 0)
        return False

    def __sample(self, samples: list[SampleConfig], is_custom: bool) -> None:
        self.callbacks.on_update_status("Sampling ...")
        for index, sample in enumerate(samples):
            if not sample.enabled:
                continue
            try:
                safe = "".join(letter for letter in sample.prompt if letter.isalnum() or letter in " ._-#")[:32].strip()
                folder = "custom" if is_custom else f"{index} - {safe}"
                name = f"{self.config.save_filename_prefix}{_timestamp()}-training-sample-{self.model.train_progress.filename_string()}"
                self.model_sampler.sample(
                    sample_config=copy.copy(sample), destination=os.path.join(self.config.workspace_dir, "samples", folder, name),
                    on_sample=self.callbacks.on_sample_custom if is_custom else self.callbacks.on_sample_default,
                    on_update_progress=self.callbacks.on_update_sample_custom_progress if is_custom
                    else self.callbacks.on_update_sample_default_progress,
                )  # fmt: skip
            except Exception:
                traceback.print_exc()
                print("Error during sampling, proceeding without sampling")

    def __backup(self, train_progress: TrainProgress, print_msg: bool = True) -> None:
        self.callbacks.on_update_status("Creating backup")
        path = os.path.join(self.config.workspace_dir, "backup", f"{_timestamp()}-backup-{train_progress.filename_string()}")
        try:
            self.model_saver.save(self.model, self.config.model_type, ModelFormat.INTERNAL, path, None)
            os.makedirs(os.path.join(path, "onetrainer_config"))
        except Exception:
            traceback.print_exc()
            print("Could not save backup. Check your disk space!")
            shutil.rmtree(path, ignore_errors=True)

    def __save(self) -> None:
        self.callbacks.on_update_status("Saving")
        name = f"{self.config.save_filename_prefix}{_timestamp()}-save-{self.model.train_progress.filename_string()}.safetensors"
        try:
            self.model_saver.save(
                model=self.model, model_type=self.config.model_type, output_model_format=self.config.output_model_format,
                output_model_destination=os.path.join(self.config.workspace_dir, "save", name), dtype=None,
            )  # fmt: skip
        except Exception:
            traceback.print_exc()
            print("Could not save model. Check your disk space!")


def _timestamp() -> str:
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
