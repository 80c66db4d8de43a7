"""The programs that train, each behind the `Backend` protocol. One is loaded by name; no other is imported with it."""

from trainer_runner.trainer.backend import Backend, ConfigError

NAMES = ("builtin", "onetrainer")


def load_backend(name: str) -> Backend:
    """A new backend. Raises ConfigError for an unknown name, ImportError when its Python lacks what it needs."""
    match name:
        case "builtin":
            from trainer_runner.backends.builtin import BuiltinBackend  # noqa: PLC0415 - imports torch

            return BuiltinBackend()
        case "onetrainer":
            from trainer_runner.backends.onetrainer import OneTrainerBackend  # noqa: PLC0415 - only where it is asked for

            return OneTrainerBackend()
        case _:
            raise ConfigError(f"no backend is called {name!r}; there are: {', '.join(NAMES)}")
