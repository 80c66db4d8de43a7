"""`onetrainerd demo`: digits written out, a daemon started, a training watched to its end, the daemon stopped."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from yarl import URL

from daemon.access.token import read_token
from daemon.errors import NotFoundError, UnavailableError

_START_S = 60.0
_NEEDS = "the built-in trainer needs PyTorch: pip install 'onetrainerd[builtin]'"


def run(folder: Path, preset: str) -> int:
    """Run the demo in *folder*, an absolute path; 0 when the training completed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "daemon.log").touch()
    except OSError as error:
        raise UnavailableError(f"--dir: {error.filename} cannot be written: {error.strerror}; choose another folder") from error
    console = Console()
    _write_digits(folder, console)
    try:
        return asyncio.run(_demo(folder, preset, console))
    except KeyboardInterrupt:
        console.print("interrupted; the daemon and its training have been stopped")
        return 130


def _write_digits(folder: Path, console: Console) -> None:
    images = folder / "digits" / "images"
    code = "import sys; from pathlib import Path; from daemon.demo.digits import write_digits; print(write_digits(Path(sys.argv[1])))"
    result = subprocess.run([sys.executable, "-c", code, str(images)], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        missing = "No module named" in result.stderr
        why = result.stderr.strip().rpartition("\n")[2]
        raise NotFoundError(_NEEDS if missing else f"the digits could not be written to {images}: {why}")
    console.print(f"{result.stdout.strip()} handwritten digits with captions: {images}")


async def _demo(folder: Path, preset: str, console: Console) -> int:
    async with _daemon(folder) as (url, token):
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(url, headers=headers, raise_for_status=_raise_clearly) as client:
            console.print(f"daemon at {url}")
            async with client.get(URL(f"/config/presets/{quote(preset, safe='')}", encoded=True)) as answer:
                config = (await answer.json())["config"]
            async with client.ws_connect("/ws") as socket:
                async with client.post("/runs", json={"config": config, "name": f"demo: {preset}"}) as answer:
                    run_id = (await answer.json())["id"]
                end = await _watch(socket, run_id, console)
            async with client.get(f"/runs/{run_id}") as answer:
                return _report(await answer.json(), end, console)


@contextlib.asynccontextmanager
async def _daemon(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """A daemon on any free port, with *folder* as its working directory; stopped at the end, its training with it if need be."""
    state_dir = folder / "state"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ONETRAINERD_", "ONETRAINER_"))}
    log = (folder / "daemon.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daemon.cli.main", "serve", "--state-dir", str(state_dir), "--port", "0", "--backend", "builtin",
        cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=log, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_START_S):
            line = (await process.stdout.readline()).decode()
        if " on http" not in line:
            raise UnavailableError(f"the daemon did not start; see {log.name}: {Path(log.name).read_text()[-500:]}")
        url, token = line.split(" on ")[1].split()[0], read_token(state_dir / "token")
        try:
            yield url, token
        except BaseException:
            await _stop_training(url, token)
            raise
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
        log.close()


async def _stop_training(url: str, token: str) -> None:
    """Whoever interrupts the demo does not want a training to go on behind it."""
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with (
            aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {token}"}) as client,
            client.post("/training/stop", timeout=aiohttp.ClientTimeout(5)),
        ):
            pass


async def _watch(socket: aiohttp.ClientWebSocketResponse, run_id: str, console: Console) -> dict[str, Any]:
    """Draw the bar until the run has ended, and return its last state."""
    columns = (
        TextColumn("{task.description:<9}"), BarColumn(bar_width=None),
        TextColumn("step {task.completed:.0f}/{task.total:.0f}  {task.fields[facts]}"),
    )  # fmt: skip
    with Progress(*columns, console=console, expand=True) as bar:
        task = bar.add_task("starting", total=1, facts="")
        async for frame in socket:
            message = frame.json()
            data = message.get("data", {})
            if message.get("run_id") != run_id:
                continue
            match message["type"]:
                case "progress":
                    facts = (
                        f"epoch {min(data['current_epoch'] + 1, data['total_epochs'])}/{data['total_epochs']}  "
                        f"loss {_short(data['smooth_loss'] or data['loss'])}  {data['steps_per_second']:.1f} it/s  "
                        f"{data['remaining_time'] or '--:--:--'} left"
                    )
                    bar.update(task, completed=data["global_step"], total=data["total_global_steps"], facts=facts)
                case "training_state":
                    bar.update(task, description=data["state"])
                    if not data["is_training"]:
                        return dict(data)
                case _:
                    pass
    raise UnavailableError("the daemon closed the connection before the training ended")


def _report(run: dict[str, Any], end: dict[str, Any], console: Console) -> int:
    console.print(f"{end['status']}" + (f": {end['error']}" if end["error"] else ""))
    console.print(f"samples: {run['samples_dir']}", soft_wrap=True)
    console.print(f"model:   {run['model_path']}", soft_wrap=True)
    return 0 if end["status"] == "completed" else 1


def _short(loss: object) -> str:
    return f"{loss:.4f}" if isinstance(loss, float | int) else str(loss)


async def _raise_clearly(answer: aiohttp.ClientResponse) -> None:
    if answer.status >= 400:
        raise UnavailableError(f"{answer.url} answered {answer.status}: {(await answer.text())[:1000]}")
