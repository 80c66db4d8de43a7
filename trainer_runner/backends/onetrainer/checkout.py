"""Is this folder a OneTrainer, what does it lack, and the handles on the parts of it that are used here."""

import contextlib
import importlib
import inspect
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from trainer_runner.trainer.backend import ConfigError

_CORE = Path("modules", "util", "config", "TrainConfig.py")


class Checkout(NamedTuple):
    """A OneTrainer that can be imported. The classes are OneTrainer's own; what an older version lacks is None."""

    root: Path
    train_config: Any
    concept_config: Any
    sample_config: Any
    secrets_config: Any
    callbacks: Any
    commands: Any
    create_trainer: "Callable[[Any, Any, Any], Any]"

    @property
    def torch_version(self) -> str:
        torch = sys.modules.get("torch")
        return str(getattr(torch, "__version__", "none"))

    def new_sample_config(self, model_type: Any) -> Any:
        """A SampleConfig with OneTrainer's defaults; newer versions have them by *model_type*."""
        if inspect.signature(self.sample_config.default_values).parameters:
            return self.sample_config.default_values(model_type)
        return self.sample_config.default_values()


class Configs(NamedTuple):
    """The config classes of a checkout: they import in a third of the time that the whole of it takes."""

    train_config: Any
    concept_config: Any
    sample_config: Any
    secrets_config: Any


def open_configs(root: Path) -> Configs:
    """Import the configs of the OneTrainer in *root*, which is the working directory.

    Raises:
        ConfigError: it is none, its Python lacks a module, or it is too old or too new; in one line.
    """
    if not (root / _CORE).is_file():
        raise ConfigError(f"{root} is not a OneTrainer checkout: {_CORE} is missing there")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    with _importing(root):
        return Configs(
            train_config=_named(root, "modules.util.config.TrainConfig", "TrainConfig"),
            concept_config=_named(root, "modules.util.config.ConceptConfig", "ConceptConfig"),
            sample_config=_named(root, "modules.util.config.SampleConfig", "SampleConfig"),
            secrets_config=_named(root, "modules.util.config.SecretsConfig", "SecretsConfig", optional=True),
        )


def optional_name(root: Path, module: str, name: str) -> Any:
    """The attribute *name* of OneTrainer's *module*; None where this version has none. Call `open_configs` first."""
    return _named(root, module, name, optional=True)


def open_checkout(root: Path) -> Checkout:
    """Import the OneTrainer in *root*, which is the working directory: OneTrainer reads `resources/…` relative to it.

    Raises:
        ConfigError: it is none, its Python lacks a module, `git` is missing, or it is too old or too new; in one line.
    """
    if shutil.which("git") is None:
        raise ConfigError("git is not on PATH: OneTrainer runs it for each backup and save, and would fail only then; install git")
    configs = open_configs(root)
    with _importing(root):
        return Checkout(
            root,
            *configs,
            callbacks=_named(root, "modules.util.callbacks.TrainCallbacks", "TrainCallbacks"),
            commands=_named(root, "modules.util.commands.TrainCommands", "TrainCommands"),
            create_trainer=_trainer_factory(root),
        )


@contextlib.contextmanager
def _importing(root: Path) -> "Iterator[None]":
    """What OneTrainer's imports raise, in one line that says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{sys.executable} lacks the module {error.name!r}, which the OneTrainer in {root} imports: {_install(root)}"
        ) from error
    except ImportError as error:
        message = f"the OneTrainer in {root} does not import with the packages of {sys.executable}: {error}; {_install(root)}"
        raise ConfigError(message) from error


def _install(root: Path) -> str:
    return f"install what it needs as OneTrainer itself does: {root}/install.sh, or {root}/update.sh after an update"


def _trainer_factory(root: Path) -> "Callable[[Any, Any, Any], Any]":
    """`create.create_trainer`, or for versions before it (2025) the one trainer that there was."""
    create = importlib.import_module("modules.util.create")
    factory: Callable[[Any, Any, Any], Any] | None = getattr(create, "create_trainer", None)
    if factory is not None:
        return factory
    trainer: Callable[[Any, Any, Any], Any] = _named(root, "modules.trainer.GenericTrainer", "GenericTrainer")
    return trainer


def _named(root: Path, module: str, name: str, *, optional: bool = False) -> Any:
    """The attribute *name* of OneTrainer's *module*; None when it is *optional* and this version has none."""
    path = root.joinpath(*module.split(".")).with_suffix(".py")
    if not path.is_file():
        if optional:
            return None
        raise ConfigError(f"the OneTrainer in {root} has no {path.relative_to(root)}: it is too old or too new for this adapter")
    value = getattr(importlib.import_module(module), name, None)
    if value is None and not optional:
        raise ConfigError(f"the OneTrainer in {root} has no {name} in {path.relative_to(root)}: it is too old or too new for this adapter")
    return value


def lack(thing: object, names: "tuple[str, ...]", what: str) -> None:
    """Raise ConfigError with the names of *names* that *thing* (called *what*) has not."""
    missing = [name for name in names if not hasattr(thing, name)]
    if missing:
        raise ConfigError(f"this version of OneTrainer lacks {', '.join(missing)} on its {what}, by which it is steered; use another one")
