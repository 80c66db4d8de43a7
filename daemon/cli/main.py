"""`onetrainerd`: parse, call one function, exit. What a command does is in its own module, imported only when it is asked for."""

import functools
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from daemon.errors import DaemonError, NotFoundError
from daemon.stdout import hold_descriptors, tell
from ipc import __version__

app = typer.Typer(
    name="onetrainerd",
    help="A headless server for OneTrainer: REST, WebSocket, and training runs that survive everything but their own end.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ConfigFile = Annotated[str | None, typer.Option("--config", metavar="FILE", help="The settings file (TOML).")]
StateDir = Annotated[str | None, typer.Option("--state-dir", metavar="DIR", help="Where runs, token and presets are kept.")]
Host = Annotated[str | None, typer.Option(metavar="HOST", help="The address to listen on; default 127.0.0.1.")]
Port = Annotated[str | None, typer.Option(metavar="PORT", help="The port to listen on; default 8000, 0: any free one.")]


@app.command()
def serve(
    config: ConfigFile = None,
    state_dir: StateDir = None,
    host: Host = None,
    port: Port = None,
    auth: Annotated[str | None, typer.Option(metavar="token|none", help="Whether clients need the token; default token.")] = None,
    backend: Annotated[str | None, typer.Option(metavar="builtin|onetrainer", help="The trainer.")] = None,
    onetrainer: Annotated[str | None, typer.Option(metavar="DIR", help="OneTrainer's checkout.")] = None,
) -> None:
    """Serve until SIGTERM or SIGINT. Trainings go on when it ends, and the next one adopts them. SIGHUP reloads the settings."""
    from daemon.serving import serve as run  # noqa: PLC0415 - only this command pays for the server's imports

    flags = {
        "config": config, "state_dir": state_dir, "host": host, "port": port, "auth": auth, "backend": backend,
        "onetrainer.home": onetrainer,
    }  # fmt: skip
    raise typer.Exit(run(functools.partial(_settings, flags)))


tokens = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
app.add_typer(tokens, name="token")


@tokens.callback()
def token(context: typer.Context, config: ConfigFile = None, state_dir: StateDir = None) -> None:
    """Print the first token, an admin's, which clients send as `Authorization: Bearer …`; or make, list and revoke others."""
    context.obj = {"config": config, "state_dir": state_dir}
    if context.invoked_subcommand is None:
        from daemon.access.token import read_token  # noqa: PLC0415 - each command pays for its own imports alone

        tell(read_token(_state_dir(context, config, state_dir) / "token"))


@tokens.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Whose it is: phone, ci, ada.")],
    role: Annotated[str, typer.Option("--role", metavar="viewer|admin", help="viewer: reads, streams, samples. admin: everything.")],
    expires: Annotated[str | None, typer.Option("--expires", metavar="30d", help="How long it is good for; default: for ever.")] = None,
    config: ConfigFile = None,
    state_dir: StateDir = None,
) -> None:
    """Make a token and print it, this once: only its hash is kept. A running daemon takes it at once."""
    from daemon.cli import tokens as commands  # noqa: PLC0415 - each command pays for its own imports alone

    commands.create(_state_dir(context, config, state_dir), name, role, expires)


@tokens.command("list")
def list_tokens(
    context: typer.Context,
    config: ConfigFile = None,
    state_dir: StateDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the tokens: name, role, when made, until when."""
    from daemon.cli import tokens as commands  # noqa: PLC0415 - each command pays for its own imports alone

    commands.show(_state_dir(context, config, state_dir), as_json=as_json)


@tokens.command()
def revoke(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    config: ConfigFile = None,
    state_dir: StateDir = None,
) -> None:
    """Void a token. A running daemon refuses it at once, and closes within seconds what it has open."""
    from daemon.cli import tokens as commands  # noqa: PLC0415 - each command pays for its own imports alone

    commands.revoke(_state_dir(context, config, state_dir), name)


@tokens.command()
def rotate(context: typer.Context, config: ConfigFile = None, state_dir: StateDir = None) -> None:
    """Replace the first token by a new one, and print that."""
    from daemon.cli import tokens as commands  # noqa: PLC0415 - each command pays for its own imports alone

    commands.rotate(_state_dir(context, config, state_dir))


@app.command()
def status(
    config: ConfigFile = None,
    state_dir: StateDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what the daemon of this state directory is doing. Exit code 3 when none answers."""
    from daemon.cli.status import show  # noqa: PLC0415 - each command pays for its own imports alone

    raise typer.Exit(show(_settings({"config": config, "state_dir": state_dir}), as_json=as_json))


@app.command()
def doctor(
    config: ConfigFile = None,
    state_dir: StateDir = None,
    host: Host = None,
    port: Port = None,
    backend: Annotated[str | None, typer.Option(metavar="builtin|onetrainer", help="The trainer.")] = None,
    onetrainer: Annotated[str | None, typer.Option(metavar="DIR", help="OneTrainer's checkout.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Look at all that a training needs, from the trainer to the unit, and say what to do. Exit code 1 when something fails."""
    from daemon.cli.doctor import show  # noqa: PLC0415 - each command pays for its own imports alone

    flags = {"config": config, "state_dir": state_dir, "host": host, "port": port, "backend": backend, "onetrainer.home": onetrainer}
    raise typer.Exit(show(flags, os.environ, _working_directory(), as_json=as_json))


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where data, samples and model go.")] = Path(".demo"),
    preset: Annotated[str, typer.Option(metavar="NAME", help="Which preset of the built-in trainer to run.")] = "digits",
) -> None:
    """Train the built-in trainer on handwritten digits, under a daemon of its own, and watch it."""
    from daemon.cli.demo import run  # noqa: PLC0415 - each command pays for its own imports alone

    raise typer.Exit(run(_working_directory() / folder.expanduser(), preset))


Onetrainer = Annotated[Path | None, typer.Option(metavar="DIR", help="OneTrainer's checkout.")]
ForUser = Annotated[bool, typer.Option("--user", help="For you alone, in your own systemd; without root.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@app.command()
def install(
    user: ForUser = False,
    onetrainer: Onetrainer = None,
    onetrainer_python: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its interpreter, where it is not in the checkout.")
    ] = None,
    service_user: Annotated[str | None, typer.Option(metavar="NAME", help="Whom it runs as; default onetrainerd, who is made.")] = None,
    state_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where runs and tokens are kept; default /var/lib/onetrainerd.")
    ] = None,
    host: Host = None,
    port: Annotated[int | None, typer.Option(metavar="PORT", help="The port to listen on; default 8000.")] = None,
    launcher: Annotated[str | None, typer.Option(metavar="systemd|direct", help="A unit for each training, or children.")] = None,
    memory_high: Annotated[str | None, typer.Option(metavar="SIZE", help="From where on a training is slowed down: 48G, 75%.")] = None,
    memory_max: Annotated[str | None, typer.Option(metavar="SIZE", help="What a training may not exceed.")] = None,
    start: Annotated[bool, typer.Option(help="Start it now.")] = True,
    dry_run: DryRun = False,
) -> None:
    """Write settings and systemd units for this machine, and start. Can be repeated: flags change what they name, the rest stays."""
    from daemon.cli.installing.install import Wishes  # noqa: PLC0415 - each command pays for its own imports alone
    from daemon.cli.installing.install import install as run  # noqa: PLC0415 - as above

    folders = {"onetrainer.home": onetrainer, "onetrainer.python": onetrainer_python, "state_dir": state_dir}
    settings = {key: str(_working_directory() / path.expanduser()) if path else None for key, path in folders.items()}
    run(Wishes(user, service_user, {**settings, "host": host, "port": port}, launcher, memory_high, memory_max, start, dry_run))


@app.command()
def uninstall(
    user: ForUser = False,
    purge: Annotated[bool, typer.Option("--purge", help="Settings and state as well: all runs, and what lies in their folder.")] = False,
    stop_trainings: Annotated[bool, typer.Option("--stop-trainings", help="Stop what is at work, with a backup.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Take away what `install` has made. State and settings stay, unless they are purged."""
    from daemon.cli.installing.uninstall import uninstall as run  # noqa: PLC0415 - each command pays for its own imports alone

    run(is_user=user, purge=purge, stop_trainings=stop_trainings, dry_run=dry_run)


@app.command()
def version() -> None:
    """Print the version."""
    tell(__version__)


def _settings(flags: dict[str, Any]) -> Any:
    from daemon.settings.model import load_settings  # noqa: PLC0415 - each command pays for its own imports alone

    return load_settings(flags, os.environ, _working_directory())


def _state_dir(context: typer.Context, config: str | None, state_dir: str | None) -> Path:
    """The state directory; its options may stand before a sub-command or behind it."""
    before = context.obj or {}
    settings = _settings({"config": config or before.get("config"), "state_dir": state_dir or before.get("state_dir")})
    return Path(settings.state_dir)


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise NotFoundError(f"the working directory cannot be found: {error.strerror}; change into one that is there") from error


def main() -> None:
    """The console script. A refusal is one clear line (or one per wrong setting) on stderr, and exit code 1."""
    hold_descriptors()
    try:
        app()
    except DaemonError as error:
        from daemon.logs import is_journal  # noqa: PLC0415 - only a refusal pays for it

        priority = "<3>" if is_journal(os.environ) else ""
        for line in error.message.splitlines():
            sys.stderr.write(f"{priority}onetrainerd: {line}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
