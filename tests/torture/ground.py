"""The ground that storms go over: a folder, daemons in it on one port, trainings of the stand-in, and an end to all of them."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from daemon.supervisor.adoption import identities
from ipc.exit_record import ExitRecord, read_exit
from ipc.journal import JournalReader
from ipc.locks import is_locked
from ipc.run_directory import RunDirectory
from tests.e2e.daemon import Daemon, Json
from tests.torture.report import Report

ROOT = Path(__file__).parents[2]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c636000000002000148afa4710000000049454e44ae426082"
)
DEADLINE_S = 60.0
SLOW: Json = {"step_s": 0.02}
FOREVER: Json = {"epochs": 1_000_000}
Predicate = Callable[[Json], bool]


class StormDaemon(Daemon):
    """A daemon of a ground. It may be dead before it serves: `start` raises then."""

    def __init__(self, ground: "Ground", plan: Mapping[str, Any] | None = None) -> None:
        """*plan* as in `faulty_daemon`; None: nothing is wrong with it."""
        super().__init__(ground.folder)
        self.state_dir = ground.state_dir
        self._ground = ground
        self._plan = plan
        self.serving_after_s = 0.0

    async def launch(self) -> None:
        """Start the process, and do not wait for it."""
        program = ["-m", "daemon.cli.main"]
        if self._plan is not None:
            plan = self.folder / "plan.json"
            plan.write_text(json.dumps(self._plan))
            program = [str(ROOT / "tests" / "torture" / "faulty_daemon.py"), str(plan)]
        with (self.folder / "daemon.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, *program, "serve", "--state-dir", str(self.state_dir), "--config", str(self.folder / "onetrainerd.toml"),
                cwd=self.folder, stdout=log, stderr=log, env={**os.environ, **self._ground.environment},
            )  # fmt: skip

    async def start(self) -> None:
        """Returns when it answers. Raises ConnectionError when it has died before."""
        began = time.monotonic()
        await self.launch()
        self.url = f"http://127.0.0.1:{self._ground.port}"
        while True:
            try:
                async with aiohttp.ClientSession(self.url) as session, session.get("/health") as answer:
                    if answer.status == 200:
                        break
            except aiohttp.ClientError:
                pass
            if self.process.returncode is not None:
                raise ConnectionError(f"the daemon ended with {self.process.returncode} before it served: {self.log()[-800:]}")
            if time.monotonic() - began > DEADLINE_S:
                raise TimeoutError(f"the daemon does not serve: {self.log()[-2000:]}")
            await asyncio.sleep(0.01)
        self.serving_after_s = time.monotonic() - began
        self.client = self._ground.session(self.url)

    async def _end(self, number: int) -> int:
        if hasattr(self, "client"):
            await self.client.close()
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
        async with asyncio.timeout(DEADLINE_S):
            return await self.process.wait()

    async def begin(self, config: Path) -> str:
        """Start a training now; its id."""
        await self.post("/training/start", {"config_path": str(config)})
        return str((await self.get("/runs"))["runs"][0]["id"])

    async def queue(self, config: Path) -> str:
        return str((await self.post("/runs", {"config_path": str(config)}, status=201))["id"])

    async def wait_run(self, run_id: str, condition: Predicate, deadline_s: float = DEADLINE_S, every_s: float = 0.03) -> Json:
        """The run, once *condition* holds for it."""
        deadline = time.monotonic() + deadline_s
        while not condition(run := await self.get(f"/runs/{run_id}")):
            if time.monotonic() > deadline:
                short = {key: run.get(key) for key in ("id", "state", "cause", "error", "attempt", "progress")}
                raise TimeoutError(f"waited {deadline_s:g} s in vain: {short}")
            await asyncio.sleep(every_s)
        return run

    async def wait_step(self, run_id: str, number: int, deadline_s: float = DEADLINE_S) -> Json:
        return await self.wait_run(run_id, lambda run: bool(run["progress"]) and run["progress"]["global_step"] >= number, deadline_s)

    async def wait_ended(self, run_id: str, deadline_s: float = DEADLINE_S) -> Json:
        return await self.wait_run(run_id, has_ended, deadline_s)


def has_ended(run: Json) -> bool:
    return run["state"] in ("completed", "stopped", "failed", "lost")


class Ground:
    """One storm's folder. Use `ground()`."""

    def __init__(self, folder: Path, places: int = 1, state_dir: Path | None = None) -> None:
        self.folder = folder
        self.state_dir = state_dir or folder / "state"
        self.home = folder / "home"
        self.port = _free_port()
        self.daemons: list[StormDaemon] = []
        self.environment: Mapping[str, str] = {}
        self._configs = 0
        self._prepare(places)

    def _prepare(self, places: int) -> None:
        shutil.copytree(ROOT / "tests" / "standin", self.home, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "tests" / "torture" / "weather.py", self.home / "weather.py")
        with (self.home / "modules" / "trainer" / "GenericTrainer.py").open("a") as file:
            file.write("\n\nimport sys\n\nimport weather\n\nweather.blow(GenericTrainer, sys.modules[__name__])\n")
        (self.folder / "model").mkdir()
        (self.folder / "images").mkdir()
        for number in range(8):
            (self.folder / "images" / f"{number}.png").write_bytes(PNG)
        # The base interpreter as the trainer's: the stand-in needs no package, and starts sooner without a venv.
        python = getattr(sys, "_base_executable", sys.executable)
        (self.folder / "onetrainerd.toml").write_text(
            f'port = {self.port}\nbackend = "onetrainer"\n[onetrainer]\nhome = "{self.home}"\npython = "{python}"\n'
            f'[paths]\nroots = ["{self.folder}"]\n[runs]\nmax_concurrent = {places}\n[stop]\ngrace_s = 30\nterm_s = 10\n'
        )

    def config(self, weather: Json | None = None, **changes: Any) -> Path:
        """A config with a workspace of its own; two epochs of four steps, no samples, no backups, whatever *changes* say."""
        self._configs += 1
        base = self.folder / f"w{self._configs}"
        Path(f"{base}.weather.json").write_text(json.dumps(weather or {}))
        config = {
            "__version": 11, "training_method": "LORA", "base_model_name": str(self.folder / "model"), "batch_size": 2,
            "output_model_format": "LEGACY_LORA", "learning_rate": 1e-3, "tensorboard": False, "epochs": 2,
            "sample_after_unit": "NEVER", "backup_after_unit": "NEVER", "save_every_unit": "NEVER",
            "workspace_dir": str(base), "cache_dir": f"{base}.cache", "output_model_destination": f"{base}.safetensors",
            "concepts": [{"__version": 2, "name": "shapes", "path": str(self.folder / "images"), "seed": 42, "enabled": True}],
            "samples": [{"prompt": "a circle", "seed": 7, "width": 64, "height": 64, "diffusion_steps": 4, "cfg_scale": 3.0}],
            **changes,
        }  # fmt: skip
        path = base.with_suffix(".json")
        path.write_text(json.dumps(config))
        return path

    async def daemon(self, plan: Mapping[str, Any] | None = None) -> StormDaemon:
        """A daemon that serves."""
        made = self.prepare_daemon(plan)
        await made.start()
        return made

    def prepare_daemon(self, plan: Mapping[str, Any] | None = None) -> StormDaemon:
        made = StormDaemon(self, plan)
        self.daemons.append(made)
        return made

    def session(self, url: str) -> aiohttp.ClientSession:
        token = (self.state_dir / "token").read_text().strip()
        timeout = aiohttp.ClientTimeout(total=60)
        connector = aiohttp.TCPConnector(limit=0)
        return aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {token}"}, timeout=timeout, connector=connector)

    def run(self, run_id: str) -> RunDirectory:
        return RunDirectory(self.state_dir / "runs" / run_id)

    def events(self, run_id: str, attempt: int = 1) -> list[Json]:
        """The runner's journal, read to its present end."""
        reader = JournalReader(self.run(run_id).attempt(attempt).events)
        found: list[Json] = []
        while records := reader.read():
            found += records
        reader.close()
        return found

    def exit_record(self, run_id: str, attempt: int = 1) -> ExitRecord | None:
        return read_exit(self.run(run_id).attempt(attempt).exit)

    def living(self) -> list[Any]:
        """The proved runners and trainers that are alive."""
        runs = [RunDirectory(path) for path in (self.state_dir / "runs").glob("0*")]
        known = [identity for run in runs for attempt in run.attempts() for identity in identities(attempt)]
        return [identity for identity in known if identity is not None and identity.is_alive()]

    async def wait_runners_gone(self, deadline_s: float = DEADLINE_S) -> None:
        deadline = time.monotonic() + deadline_s
        while any(is_locked(lock) for lock in (self.state_dir / "runs").glob("0*/attempts/*/runner.lock")):
            if time.monotonic() > deadline:
                raise TimeoutError("a runner does not end")
            await asyncio.sleep(0.03)

    async def end(self) -> None:
        for daemon in self.daemons:
            if hasattr(daemon, "process"):
                await daemon.kill()
        for identity in self.living():
            identity.send_signal(signal.SIGCONT)
            identity.send_signal(signal.SIGKILL)


@contextlib.asynccontextmanager
async def ground(folder: Path, places: int = 1, state_dir: Path | None = None) -> AsyncIterator[Ground]:
    """A new ground below *folder*; whatever happens, nothing of it lives on."""
    folder.mkdir(parents=True)
    made = Ground(folder, places, state_dir)
    try:
        yield made
    finally:
        await made.end()


def starts_of(config: Path) -> list[list[int]]:
    """For each start of a trainer with *config*: its pid, and the pids of those that lived then."""
    path = config.with_suffix(".starts")
    return [[int(pid) for pid in line.split()] for line in path.read_text().splitlines()] if path.exists() else []


def beat_of(config: Path) -> int:
    """The last step that the trainer with *config* has done, by its own word."""
    try:
        return int(config.with_suffix(".beat").read_text())
    except OSError:
        return 0


def times(count: int, scale: float, least: int = 1) -> int:
    """*count* at scale 1."""
    return max(least, round(count * scale))


async def check_gone(ground: Ground, report: Report) -> None:
    """Nothing that was started lives on."""
    await ground.wait_runners_gone()
    deadline = time.monotonic() + 5
    while ground.living() and time.monotonic() < deadline:  # noqa: ASYNC110 - strangers' processes give us no event
        await asyncio.sleep(0.05)
    report.exactly("processes left over", len(ground.living()), 0)


def memory_kb(pid: int, field: str = "VmRSS") -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(field + ":")).split()[1])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
