"""From what a client asks to what a run needs: the config found, read and checked. Blocking: files are read; call it in a thread."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from daemon.config.composing import Composed, Composer, Overrides, without_values
from daemon.config.current import CurrentConfig
from daemon.config.inlining import inline_lists
from daemon.config.loading import load_config_file
from daemon.config.masking import split, visible
from daemon.config.validation import Validator
from daemon.errors import DaemonError, InvalidError, NotFoundError
from daemon.files.backups import BACKUPS, progress_of
from daemon.paths import Roots
from daemon.runs.disk import DiskMarks
from daemon.runs.policies import RestartPolicy, StallPolicy
from daemon.supervisor.room import needs_of, refuse_if_full
from daemon.supervisor.store import RunSpec

_LOG = logging.getLogger(__name__)
_WORKSPACE = "workspace/run"
"""The default of `workspace_dir`, OneTrainer's and the built-in trainer's."""


@dataclass(frozen=True)
class Order:
    """A run as a client asks for it: *config* inline, or the file *config_path*; with neither, the preset of *overrides* alone, or, without
    one, the current config."""

    config_path: str | None = None
    config: Mapping[str, Any] | None = None
    secrets_path: str | None = None
    name: str | None = None
    continue_from: str | None = None
    """A backup: its path, or its name in the workspace of the config."""
    idempotency: Mapping[str, str] | None = None
    restart: Mapping[str, Any] = field(default_factory=dict)
    stall: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the policies that are to be other than the settings say."""
    force: bool = False
    """Start also where there is not room enough, or the config has errors."""
    overrides: Overrides = Overrides()  # noqa: RUF009 - immutable

    @property
    def is_current(self) -> bool:
        """It is the current config that is run, whatever goes over it."""
        return self.config is None and not self.config_path and self.overrides.preset is None


@dataclass(frozen=True)
class Defaults:
    """What the settings say of a run that does not say it itself, and where journals are written."""

    state_dir: Path
    restart: RestartPolicy = RestartPolicy()  # noqa: RUF009 - immutable
    stall: StallPolicy = StallPolicy()  # noqa: RUF009 - immutable
    disk: DiskMarks = DiskMarks()  # noqa: RUF009 - immutable


class Intake:
    """Turns orders into specs. What it lets through can start; everything else is refused before a process exists."""

    def __init__(
        self, backend: str, roots: Roots, current: CurrentConfig, validator: Validator, defaults: Defaults, composer: Composer
    ) -> None:
        self._backend = backend
        self._roots = roots
        self._current = current
        self._validator = validator
        self._defaults = defaults
        self._composer = composer

    def change_defaults(self, defaults: Defaults) -> None:
        """For the orders from now on."""
        self._defaults = defaults

    def spec(self, order: Order) -> RunSpec:
        """The effective config of *order*, checked.

        Raises:
            InvalidError: the file is not JSON; a value cannot be set (code `bad_config_value`); the config cannot be trained with
                (code `invalid_config`, all errors in the details); there is no room for what it will write (code `disk_full`).
            NotFoundError: no such file, no such preset, or no current config.
            ForbiddenError: a path outside the roots.
        """
        composed = self._composed(order)
        config, secrets = split(composed.config)
        self._refuse_invalid(config, is_forced=order.force)
        if order.secrets_path:
            secrets = self._secrets(order.secrets_path)
        given, config = config, inline_lists(config, self._roots)
        final = composed.for_onetrainer(config) if self._backend == "onetrainer" else config
        if final != given or secrets:
            # Concepts out of a file, values beside the config, and a key file among the secrets may name any place, too.
            self._refuse_invalid(visible({**final, "secrets": secrets}), is_forced=order.force)
        needs = needs_of(config, self._backend, self._roots, self._defaults.state_dir)
        if not order.force:
            refuse_if_full(needs, self._defaults.disk)
        return RunSpec(
            self._backend, final, config_path=order.config_path or None, name=order.name, secrets=secrets,
            continue_from=self._backup(order.continue_from, config) if order.continue_from else None, idempotency=order.idempotency,
            restart=RestartPolicy.from_json({**asdict(self._defaults.restart), **order.restart}),
            stall=StallPolicy.from_json({**asdict(self._defaults.stall), **order.stall}),
            preset=order.overrides.preset,
            writes=tuple(str(need.path) for need in needs if need.path != self._defaults.state_dir),
        )  # fmt: skip

    def began(self, order: Order, spec: RunSpec) -> None:
        """The current config is the one of the run last started. One that was asked for as such stays as it was put, secrets included."""
        if order.is_current and order.overrides.is_empty:
            return
        try:
            self._current.set(without_values(spec.config), keeps_secrets=order.is_current)
        except DaemonError as error:
            _LOG.warning("the run has begun, but its config could not be noted as the current one: %s", error)

    def _refuse_invalid(self, config: Mapping[str, Any], *, is_forced: bool) -> None:
        """Forced, only what the client may not name is refused: whoever knows better than the rules may try."""
        verdict = self._validator.validate(config, is_starting=True)
        refused = verdict.refused if is_forced else verdict.errors
        if refused:
            more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
            hint = "" if verdict.refused else '; POST /config/validate tells more, and "force": true starts all the same'
            raise InvalidError(
                f"the config cannot be trained with: {refused[0]}{more}{hint}",
                code="invalid_config", config_errors=verdict.errors, config_warnings=verdict.warnings,
            )  # fmt: skip

    def _secrets(self, text: str) -> dict[str, Any]:
        """What the file *text* holds. Where it is no JSON the message tells the place, and nothing of what stands there."""
        path = self._roots.resolve(text, "secrets_path", hidden=True)
        try:
            return load_config_file(path, self._roots)
        except InvalidError as error:
            if error.code != "bad_json":
                raise
            place = f" at line {error.details['line']}" if "line" in error.details else ""
            raise InvalidError(f"secrets_path: {path} is not valid JSON{place}; it must be an object", code="bad_json") from None

    def _backup(self, text: str, config: Mapping[str, Any]) -> str:
        """The path of the whole backup that *text* names."""
        named = text if "/" in text else f"{config.get('workspace_dir') or _WORKSPACE}/{BACKUPS}/{text}"
        path = self._roots.resolve(named, "continue_from")
        if not path.is_dir():
            raise NotFoundError(
                f"continue_from: there is no backup {path}; GET /runs/{{run_id}}/backups lists those of a run", code="no_backup"
            )
        if progress_of(path) is None:
            raise InvalidError(
                f"continue_from: the backup {path} is not whole: it has no readable meta.json; choose another one", code="backup_not_whole"
            )
        return str(path)

    def _composed(self, order: Order) -> Composed:
        if order.config is not None and order.config_path:
            raise InvalidError("config and config_path are both given; give one of them", code="two_configs")
        return self._composer.compose(self._config(order), order.overrides)

    def _config(self, order: Order) -> Mapping[str, Any]:
        if order.config is not None:
            return order.config
        if order.config_path:
            return load_config_file(self._roots.resolve(order.config_path, "config_path"), self._roots)
        return self._current.with_secrets() if order.is_current else {}
