"""The daemon's settings: the fields, their defaults and what they allow. How sources are read is `daemon/settings/sources.py`.

pydantic-settings is not used: it cannot say which source a wrong value came from, and it passes over unknown variables.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from daemon.errors import InvalidError
from daemon.settings import sources
from daemon.settings.fields import (
    Bytes,
    LocalPath,
    Number,
    OptionalPath,
    RestartCause,
    Seconds,
    absolute,
    allowed_host,
    empty_is_none,
    host_name,
    is_loopback,
    origin,
    raw,
    surroundings,
)

__all__ = ["Backend", "Launcher", "Settings", "SettingsError", "load_settings"]

Backend = Literal["builtin", "onetrainer"]
Launcher = Literal["direct", "systemd"]


class Section(BaseModel):
    """The docstring of each field is what `docs/settings.md` and the comments of `configs/onetrainerd.toml` say of it: `make settings`."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    live: ClassVar[frozenset[str]] = frozenset()
    """The fields whose change a reload (SIGHUP) brings into force; the others wait for a restart."""


class OneTrainer(Section):
    """Where OneTrainer's checkout is, and its interpreter (None: the one found inside the checkout)."""

    home: OptionalPath = raw("")
    """OneTrainer's checkout; also ONETRAINER_HOME."""

    python: OptionalPath = raw("")
    """Its interpreter; also ONETRAINER_PYTHON. Empty: venv, .venv or the conda environment inside the checkout, in this order."""


class Paths(Section):
    live = frozenset({"roots"})

    roots: tuple[LocalPath, ...] = raw(("~", "."))
    """The folders inside which clients, and the configs they send, may name paths; besides the state folder and OneTrainer's checkout.
    "~" and "." add nothing where they are "/"."""

    @field_validator("roots", mode="before")
    @classmethod
    def _not_the_whole_disk(cls, value: object, info: ValidationInfo) -> object:
        """A service user's home, and its working directory, are often `/`: as "~" and "." they open nothing."""
        if not isinstance(value, list | tuple):
            return value
        return tuple(item for item in value if item not in {"~", "."} or absolute(item, info) != Path("/"))


class Runs(Section):
    live = frozenset({"max_concurrent"})

    max_concurrent: Annotated[int, Number, Field(ge=1, le=64)] = 1
    """Trainings at the same time, 1 to 64; the rest waits in the queue."""


class Stop(Section):
    """How long the steps of a stop take. A run keeps what held when it was started."""

    live = frozenset({"grace_s", "term_s"})

    grace_s: Seconds = 600.0
    """Seconds from the stop command to SIGTERM: time to finish the step, back up and save."""

    term_s: Seconds = 60.0
    """Seconds from SIGTERM to SIGKILL."""


class Restart(Section):
    """Which failed runs are started again, unless the run itself says otherwise. A run keeps what held when it was asked for."""

    live = frozenset({"on", "max_restarts", "backoff_s", "backoff_max_s", "reset_after_s"})

    on: tuple[RestartCause, ...] = ()
    """The causes on which a failed run is started again, from the newest backup it has made: "cuda_oom", "host_oom", "nan_loss",
    "disk_full", "config_error", "missing_file", "exception", "crash", "killed", "start_failed", "unknown", "stalled" (killed by the stall
    watch), "lost" (its runner died). Empty: never. A run that was asked to stop is never restarted. POST /runs may say otherwise for one
    run."""

    max_restarts: Annotated[int, Number, Field(ge=0, le=1_000_000)] = 5
    """Restarts in a row, after which it is given up."""

    backoff_s: Seconds = 10.0
    """Seconds before the first restart; doubled each time, up to backoff_max_s."""

    backoff_max_s: Seconds = 600.0
    """The longest wait before a restart, in seconds."""

    reset_after_s: Annotated[float, Number, Field(gt=0, allow_inf_nan=False)] = 1800.0
    """An attempt that trained for so many seconds makes the count begin anew."""


class Stall(Section):
    """When a run that makes no step is told of. A run keeps what held when it was asked for."""

    live = frozenset({"after_s", "action"})

    after_s: Seconds = 1800.0
    """Seconds without a step, while training, after which a run is said to have stalled. 0: never."""

    action: Literal["tell", "stop", "restart"] = "tell"
    """"tell": only that. "stop": the stop command, with its grace period. "restart": a kill, to which [restart] applies as "stalled"."""


class Disk(Section):
    """Marks of free room, in bytes, on each file system that a run writes to."""

    live = frozenset({"reserve_bytes", "low_bytes", "hold_bytes"})

    reserve_bytes: Bytes = 256 << 20
    """Bytes that must stay free on each file system that a run writes to, besides what it is certain to write; less, and it is not
    started. 0: off. On a small file system at most a tenth of its size counts."""

    low_bytes: Bytes = 512 << 20
    """Less is told, as an event of the run, in /health and by a metric (of a small file system: a twentieth). 0: off."""

    hold_bytes: Bytes = 128 << 20
    """With less, runs that write there are paused until there is room again (of a small file system: a fiftieth). 0: off."""


class Kept(Section):
    """Which directories of ended runs stay. A workspace or a model is never removed."""

    live = frozenset({"keep_runs", "keep_days"})

    keep_runs: Annotated[int, Number, Field(ge=0)] = 0
    """The newest ended runs to keep; the directories of older ones are removed, never a workspace or a model. 0: keep all."""

    keep_days: Seconds = 0.0
    """Days to keep an ended run. 0: for ever."""


class Tls(Section):
    """Serve https. The files are read again at each reload; other paths wait for a restart."""

    cert: OptionalPath = raw("")
    """The certificate in PEM form, its own first and then the chain. Empty: http."""

    key: OptionalPath = raw("")
    """Its private key in PEM form, without a password."""


class Http(Section):
    live = frozenset({"max_body_bytes", "allowed_hosts", "allowed_origins"})

    max_body_bytes: Annotated[int, Number, Field(ge=1024, le=1 << 30)] = 8 << 20
    """The largest request body, 1024 bytes to 1 GiB."""

    allowed_hosts: tuple[Annotated[str, AfterValidator(allowed_host)], ...] = ()
    """What a Host header may say besides loopback names and `host`: "gpu.example.org", "gpu.example.org:8443". Needed behind a proxy."""

    allowed_origins: tuple[Annotated[str, AfterValidator(origin)], ...] = ()
    """Web pages of other origins that may call: "https://dash.example.org". A page served by the daemon itself needs no entry."""


class Limits(Section):
    """What one client may use up; beyond it the answer is 429 with Retry-After."""

    live = frozenset({"failed_logins_per_minute", "calls_per_s", "calls_burst", "streams_per_token", "streams"})

    failed_logins_per_minute: Annotated[int, Number, Field(ge=0, le=1_000_000)] = 10
    """Wrong tokens from one address (of IPv6: one /64 network) in a minute. A right one is let in all the same. 0: no limit."""

    calls_per_s: Annotated[float, Number, Field(ge=0, allow_inf_nan=False)] = 200.0
    """Calls a second with one token, in the long run. 0: no limit."""

    calls_burst: Annotated[int, Number, Field(ge=1, le=1_000_000)] = 2000
    """Calls at once with one token, before calls_per_s counts."""

    streams_per_token: Annotated[int, Number, Field(ge=1, le=65536)] = 128
    """Open WebSockets, logs and downloads of models with one token."""

    streams: Annotated[int, Number, Field(ge=1, le=65536)] = 384
    """Open WebSockets, logs and downloads of models in all. There are at most 512 connections, so that this leaves some for calls."""


class Log(Section):
    """What is written to standard error."""

    live = frozenset({"level", "format", "requests"})

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
    ] = "info"
    """"debug", "info", "warning" or "error"."""

    format: Literal["text", "json"] = "text"
    """"text": lines for people. "json": one object a line, with `run_id` and `request_id` where there is one. Under systemd both begin
    with the priority that journald reads."""

    requests: Literal["off", "debug", "info"] = "debug"
    """The level at which each request is logged with its status and its time, or "off"."""


class Settings(Section):
    """All settings, checked; paths are absolute, links not resolved."""

    state_dir: LocalPath = raw("")
    """Runs, presets, the token. Empty: $STATE_DIRECTORY (systemd sets it), else $XDG_STATE_HOME/onetrainerd, else
    ~/.local/state/onetrainerd."""

    host: Annotated[str, AfterValidator(host_name)] = "127.0.0.1"
    """An address or host name to listen on. Beyond loopback only with auth = "token"."""

    port: Annotated[int, Number, Field(ge=0, le=65535)] = 8000
    """0 takes any free port."""

    auth: Literal["token", "none"] = "token"
    """"token": every call but /health, /ready and the page /docs needs a bearer token, that in <state_dir>/token or one of
    `onetrainerd token create`. "none": nobody is asked for one, and it listens only on loopback."""

    backend: Annotated[Backend | None, BeforeValidator(empty_is_none)] = raw("")
    """"onetrainer" or "builtin" (a small real trainer for trying things out). Empty: onetrainer where a checkout is set, else builtin."""

    launcher: Annotated[Launcher | None, BeforeValidator(empty_is_none)] = raw("")
    """How runs are started. "systemd": each in a unit of its own (onetrainer-run@.service). "direct": as children that outlive the daemon.
    Empty: systemd where run_socket is there and belongs to the daemon's user, else direct. The units set it for their daemon."""

    run_socket: OptionalPath = raw("")
    """Where onetrainer-run.socket listens; the unit sets it."""

    onetrainer: OneTrainer = raw({})
    paths: Paths = raw({})
    runs: Runs = raw({})
    stop: Stop = raw({})
    restart: Restart = raw({})
    stall: Stall = raw({})
    disk: Disk = raw({})
    retention: Kept = raw({})
    tls: Tls = raw({})
    http: Http = raw({})
    limits: Limits = raw({})
    log: Log = raw({})

    @field_validator("state_dir", mode="before")
    @classmethod
    def _default_state_dir(cls, value: Any, info: ValidationInfo) -> Any:
        """systemd.exec(5): $STATE_DIRECTORY may list several, separated by colons; the first is ours."""
        if value != "":
            return value
        environ = surroundings(info)[1]
        if given := environ.get("STATE_DIRECTORY", "").split(":")[0]:
            return given
        state_home = environ.get("XDG_STATE_HOME", "")
        return Path(state_home if state_home.startswith("/") else "~/.local/state") / "onetrainerd"

    @property
    def chosen_backend(self) -> Backend:
        """The backend asked for, else OneTrainer where a checkout is configured."""
        return self.backend or ("onetrainer" if self.onetrainer.home else "builtin")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the API."""
        return is_loopback(self.host)

    def client_roots(self) -> tuple[Path, ...]:
        """The folders inside which clients may name paths: the state folder, OneTrainer's checkout, `paths.roots`."""
        home = (self.onetrainer.home,) if self.onetrainer.home else ()
        return (self.state_dir, *home, *self.paths.roots)


class SettingsError(InvalidError):
    """One line for each thing that is wrong: source, key, value, what is allowed."""

    default_code = "bad_settings"


def load_settings(flags: Mapping[str, object], environ: Mapping[str, str], cwd: Path) -> Settings:
    """The settings from *flags* over *environ* over the TOML file (`--config`, ONETRAINERD_CONFIG) over the defaults.

    A flag that is None and a variable that is empty count as not given. Relative paths are relative to *cwd*.

    Raises:
        SettingsError: with every problem found, one a line.
    """
    given, problems = sources.read_all(Settings, flags, environ, cwd)
    nested = sources.nest({key: item.value for key, item in given.items()})
    try:
        settings = Settings.model_validate(nested, context={"cwd": cwd, "environ": environ})
    except ValidationError as error:
        for item in error.errors(include_url=False):
            key = ".".join(str(part) for part in item["loc"][:2])
            key = key if key in given else str(item["loc"][0])
            allowed = item["msg"].removeprefix("Value error, ").replace("Input should", "should")
            problems.append(f"{given[key].source}: {key} = {given[key].value!r} is not allowed: {allowed}")
        raise SettingsError("\n".join(dict.fromkeys(problems))) from error
    problems += _contradictions(settings, given)
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def _contradictions(settings: Settings, given: Mapping[str, sources.Given]) -> list[str]:
    if settings.auth == "none" and not settings.is_local:
        auth, host = given["auth"].source, given["host"].source
        line = (
            f"{auth}: auth = 'none' is not allowed with host = {settings.host!r} ({host}): anyone who reaches this machine could start "
            "programs on it through a training; use auth = 'token', or host = '127.0.0.1' behind an SSH tunnel"
        )
        return [line]
    if (settings.tls.cert is None) != (settings.tls.key is None):
        there, missing = ("cert", "key") if settings.tls.cert else ("key", "cert")
        return [f"{given[f'tls.{there}'].source}: tls.{there} needs tls.{missing}: set both for https, or none for http"]
    if settings.backend == "onetrainer" and settings.onetrainer.home is None:
        source = given["backend"].source
        return [f"{source}: backend = 'onetrainer' needs OneTrainer's checkout: set ONETRAINER_HOME, or onetrainer.home in the file"]
    return []
