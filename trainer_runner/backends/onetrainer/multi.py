"""Several GPUs: OneTrainer's MultiTrainer spawns a process for each, and trains as rank 0 in this one.

The trainer that trains is made inside it, from a copy of the config. Its class is looked up in the module at that moment, so that a
stand-in for the class, in this process alone, hands the trainer over to be watched; the spawned processes import OneTrainer as it is.
"""

import contextlib
import importlib
import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

from trainer_runner.trainer.backend import ConfigError

_JOIN_S = 10.0


def is_asked_for(config: Any) -> bool:
    return bool(getattr(config, "multi_gpu", False))


@contextlib.contextmanager
def stops_in_step(apply: "Callable[[], None]") -> "Iterator[bool]":
    """While this lasts, *apply* is called on the training thread whenever the ranks are about to agree on the commands. Gives False
    where this version of OneTrainer agrees on nothing, so that a stop goes straight through.

    OneTrainer sends rank 0's commands to the others and then merges its own from the live object (`multi_gpu_util.sync_commands`): a stop
    that came while it waited for them was known to rank 0 alone, which left, and the others failed at their next barrier.
    """
    try:
        module = importlib.import_module("modules.util.multi_gpu_util")
        original: Any = module.sync_commands
    except (ModuleNotFoundError, AttributeError):
        yield False
        return

    def agree(*args: Any, **kwargs: Any) -> Any:
        apply()
        return original(*args, **kwargs)

    module.sync_commands = agree  # type: ignore[attr-defined]  # OneTrainer's module, in this process
    try:
        yield True
    finally:
        module.sync_commands = original  # type: ignore[attr-defined]  # as above


@contextlib.contextmanager
def prepared(watch: "Callable[[Any], None]") -> "Iterator[None]":
    """While this lasts, MultiTrainer meets at a free port, and its rank 0's trainer is given to *watch* when it is made.

    After a failure of rank 0 the other ranks wait for it (24 hours, by OneTrainer's time-out), and this process would wait for them at its
    exit: they are ended here.

    Raises:
        ConfigError: this version of OneTrainer has no MultiTrainer, or another one.
    """
    try:
        module = importlib.import_module("modules.trainer.MultiTrainer")
    except ModuleNotFoundError as error:
        raise ConfigError("multi_gpu: this version of OneTrainer has no modules.trainer.MultiTrainer") from error
    original: Any = getattr(module, "GenericTrainer", None)
    if original is None:
        raise ConfigError("multi_gpu: this version of OneTrainer's MultiTrainer makes no GenericTrainer, by which the adapter steers it")

    def make(*args: Any, **kwargs: Any) -> Any:
        trainer = original(*args, **kwargs)
        watch(trainer)
        return trainer

    # MultiTrainer.start sets 12355 where nothing is set: a second run on the machine would meet the first one there.
    os.environ.setdefault("MASTER_PORT", str(_free_port()))
    module.GenericTrainer = make  # type: ignore[attr-defined]  # OneTrainer's module, in this process
    try:
        yield
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
            child.join(_JOIN_S)
            if child.is_alive():
                child.kill()
        raise
    finally:
        module.GenericTrainer = original  # type: ignore[attr-defined]  # as above


def _free_port() -> int:
    """A port that was free just now: the kernel gives another one to who asks next, so that a clash takes bad luck."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
