"""From what a client asks to what a run needs: the config found, read and checked. Blocking: files are read; call it in a thread."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daemon.config.current import CurrentConfig
from daemon.config.loading import load_config_file
from daemon.config.validation import Validator
from daemon.errors import InvalidError
from daemon.paths import Roots
from daemon.supervisor.store import RunSpec


@dataclass(frozen=True)
class Order:
    """A run as a client asks for it: *config* inline, or the file *config_path*, or, with neither, the current config."""

    config_path: str | None = None
    config: Mapping[str, Any] | None = None
    secrets_path: str | None = None
    name: str | None = None


class Intake:
    """Turns orders into specs. What it lets through can start; everything else is refused before a process exists."""

    def __init__(self, backend: str, roots: Roots, current: CurrentConfig, validator: Validator) -> None:
        self._backend = backend
        self._roots = roots
        self._current = current
        self._validator = validator

    def spec(self, order: Order) -> RunSpec:
        """The effective config of *order*, checked.

        Raises:
            InvalidError: the file is not JSON, or the config cannot be trained with (code `invalid_config`, all errors in the details).
            NotFoundError: no such file, or no current config.
            ForbiddenError: a path outside the roots.
        """
        config = self._config(order)
        verdict = self._validator.validate(config)
        if not verdict.valid:
            more = f" (and {len(verdict.errors) - 1} more)" if len(verdict.errors) > 1 else ""
            raise InvalidError(
                f"the config cannot be trained with: {verdict.errors[0]}{more}",
                code="invalid_config", config_errors=verdict.errors, config_warnings=verdict.warnings,
            )  # fmt: skip
        secrets = load_config_file(self._roots.resolve(order.secrets_path, "secrets_path")) if order.secrets_path else None
        return RunSpec(self._backend, config, config_path=order.config_path or None, name=order.name, secrets=secrets)

    def began(self, spec: RunSpec) -> None:
        """The current config is the one of the run last started."""
        self._current.set(spec.config)

    def _config(self, order: Order) -> Mapping[str, Any]:
        if order.config is not None:
            return order.config
        if order.config_path:
            return load_config_file(self._roots.resolve(order.config_path, "config_path"))
        return self._current.get()
