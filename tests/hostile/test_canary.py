"""Secrets go through everything that a client can do, and are then looked for: they are in their own files, and nowhere else."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.e2e.daemon import Daemon
from tests.hostile.standin_daemon import standin_config, standin_daemon

PLANTED = {
    "in secrets_path": "hf_canaryInFile4711", "in secrets": "hf_canaryInline4712", "a cloud's password": "canaryPassword4713",
    "an API key": "canaryApiKey4714", "in config_values": "hf_canaryValue4715", "misplaced": "canaryMisplaced4716",
    "in the current config": "hf_canaryCurrent4717", "in a preset": "hf_canaryPreset4718", "in a broken file": "hf_canaryBroken4719",
    "a wrong token": "canaryWrongToken4720canaryWrongToken4720",
}  # fmt: skip


class Watch:
    """Collects what was said, and finds the planted words in it."""

    def __init__(self, folder: Path, words: dict[str, str]) -> None:
        self.words = words
        self.found: list[str] = []
        self._folder = folder

    def look(self, where: str, data: bytes) -> None:
        self.found += [f"{what} is in {where}" for what, word in self.words.items() if word.encode() in data]

    def look_at_files(self, root: Path, own: set[Path]) -> None:
        for path in root.rglob("*"):
            if path not in own and path.is_file() and not path.is_symlink():
                with contextlib.suppress(FileNotFoundError):
                    self.look(str(path.relative_to(self._folder)), path.read_bytes())

    def look_at_processes(self, daemon: Daemon) -> list[psutil.Process]:
        """argv and environment of the daemon, the runners and the trainers."""
        processes = [psutil.Process(daemon.process.pid), *trainings(daemon)]
        for process in processes:
            for name in ("cmdline", "environ"):
                self.look(f"/proc/{process.name()}/{name}", Path(f"/proc/{process.pid}/{name}").read_bytes())
        return processes


def trainings(daemon: Daemon) -> list[psutil.Process]:
    runs, everything = str(daemon.state_dir / "runs"), psutil.process_iter(["cmdline"])
    return [process for process in everything if any(runs in part for part in process.info["cmdline"] or ())]


def planted_config(folder: Path, **changes: Any) -> dict[str, Any]:
    secrets = {
        "huggingface_token": PLANTED["in secrets"],
        "cloud": {"password": PLANTED["a cloud's password"], "api_key": PLANTED["an API key"], "key_file": "", "port": 22},
    }  # fmt: skip
    return standin_config(folder, secrets=secrets, cloud={"enabled": False, "password": PLANTED["misplaced"]}, **changes)


async def test_secrets_are_in_their_own_files_and_nowhere_else(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "keys").mkdir()
    kept, broken = tmp_path / "keys/secrets.json", tmp_path / "keys/broken.json"
    kept.write_text(json.dumps({"huggingface_token": PLANTED["in secrets_path"]}))
    broken.write_text(f'{{"huggingface_token": {PLANTED["in a broken file"]}, "{PLANTED["in a broken file"]}": 1}}')
    async with standin_daemon(tmp_path, environment={"HOME": str(home)}) as daemon:
        viewer = await made_token(daemon, "viewer")
        admin = (daemon.state_dir / "token").read_text().strip()
        watch = Watch(tmp_path, {**PLANTED, "the admin's token": admin, "the viewer's token": viewer})
        async with daemon.client.ws_connect("/ws", max_msg_size=0) as socket:
            frames = asyncio.create_task(heard(socket, watch))
            await order_everything(daemon, watch, tmp_path, kept, broken)
            assert (daemon.state_dir / "current.secrets.json").exists()
            await read_everything(daemon, watch, admin)
            long = await start(daemon, watch, {"config": planted_config(tmp_path, epochs=100_000), "secrets_path": str(kept)}, 201)
            async with daemon.listen() as listener:
                await listener.wait_status("training")
            processes = watch.look_at_processes(daemon)
            assert {process.rlimit(psutil.RLIMIT_CORE) for process in processes} == {(0, 0)}
            assert len(processes) >= 3  # the daemon, a runner, a trainer
            own = {daemon.state_dir / "token", daemon.state_dir / "current.secrets.json", kept, broken}
            own |= set((daemon.state_dir / "runs" / long["id"] / "secrets").rglob("*"))
            assert any(path.name == "secrets.json" for path in own - {kept})
            watch.look_at_files(tmp_path, own)
            for token in (admin, viewer):
                await read_everything(daemon, watch, token)
            await daemon.post(f"/runs/{long['id']}/stop", {"force": True})
            async with daemon.listen() as listener:
                await listener.wait_status("stopped")
            await replayed(daemon, watch)
            frames.cancel()
    watch.look_at_files(tmp_path, {daemon.state_dir / "token", daemon.state_dir / "current.secrets.json", kept, broken})
    assert watch.found == []
    assert not list((daemon.state_dir / "runs").glob("*/secrets"))


async def made_token(daemon: Daemon, role: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daemon.cli.main", "token", "create", "--role", role, "--name", role, "--state-dir", str(daemon.state_dir),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().strip()


async def order_everything(daemon: Daemon, watch: Watch, folder: Path, kept: Path, broken: Path) -> None:
    """A run that ends well, one that fails, and every mistake with a secret in it that comes to mind."""
    config = planted_config(folder)
    done = await start(daemon, watch, {"config": config, "secrets_path": str(kept)}, 201)
    values = {"secrets.huggingface_token": PLANTED["in config_values"]}
    valued = await start(daemon, watch, {"config": config, "config_values": values}, 201)
    failed = await start(daemon, watch, {"config": planted_config(folder, learning_rate="NaN", epochs=2), "force": True}, 201)
    for run in (done, valued, failed):
        await ended(daemon, watch, run["id"])
    token = PLANTED["in secrets"]
    for method, path, body in (
        ("PUT", "/config/current", {"config": {**config, "secrets": {"huggingface_token": PLANTED["in the current config"]}}}),
        ("PUT", "/config/current", {"config": {"epochs": 1}, "partial": True}),
        ("POST", "/config/presets/mine", {"config": {**config, "secrets": {"huggingface_token": PLANTED["in a preset"]}}}),
        ("POST", "/config/presets/mine", {"config": {"secrets": {"huggingface_token": PLANTED["in a preset"]}}, "partial": True}),
        ("POST", "/config/validate", {"config": config}),
        ("POST", "/config/validate", {"config": {**config, "secrets": token}}),
        ("POST", "/config/validate", {"config": {**config, "secrets": {"huggingface_token": [token], "cloud": token}}}),
        ("POST", "/config/validate", {"config": {**config, "concepts": {"secrets": {"huggingface_token": token}}}}),
        ("POST", "/config/validate?deep=true", {"config": {**config, "epochs": {"password": token}}}),
        ("POST", "/runs", {"config": config, "secrets_path": str(broken)}),
        ("POST", "/runs", {"config": {**config, "secrets": token}}),
        ("POST", "/runs", {"config": {**config, "epochs": "two"}}),
        ("POST", "/runs", {"config": {**config, "secrets": {"huggingface_token": 5, "cloud": [token]}, "workspace_dir": "/etc"}}),
        ("POST", "/runs", {"config": config, "secrets": {"huggingface_token": token}}),
        ("POST", "/runs", {"config": config, "config_values": [f"secrets.huggingface_token.x={token}"], "name": 5}),
        ("POST", "/runs", {"config": config, "config_values": {"cloud.api_key": token, "secrets": {"huggingface_token": token}}}),
        ("POST", "/training/start", {"config_path": str(broken)}),
        ("POST", "/training/start", {"config_path": {"secrets": token}}),
    ):  # fmt: skip
        async with daemon.client.request(method, path, json=body) as answer:
            watch.look(f"the answer to {method} {path}", await answer.read())
            assert answer.status < 500, await answer.text()
    wrong = {"Authorization": f"Bearer {PLANTED['a wrong token']}", "Sec-WebSocket-Protocol": "onetrainerd"}
    async with daemon.client.get("/runs", headers=wrong) as answer:
        assert answer.status == 401
        watch.look("a refusal", await answer.read())


async def start(daemon: Daemon, watch: Watch, body: dict[str, Any], status: int) -> dict[str, Any]:
    async with daemon.client.post("/runs", json=body) as answer:
        data = await answer.read()
        watch.look("the answer to POST /runs", data)
        assert answer.status == status, data
        made: dict[str, Any] = json.loads(data)
        return made


async def ended(daemon: Daemon, watch: Watch, run_id: str) -> None:
    """A followed log ends with its run."""
    async with asyncio.timeout(60), daemon.client.get(f"/runs/{run_id}/log", params={"follow": "true"}) as answer:
        watch.look("a console", await answer.read())


async def read_everything(daemon: Daemon, watch: Watch, token: str) -> None:
    """All that can be got, of every run."""
    runs = [run["id"] for run in (await daemon.get("/runs"))["runs"]]
    assert len(runs) >= 3
    async with aiohttp.ClientSession(daemon.url, headers={"Authorization": f"Bearer {token}"}) as client:
        for path in (await daemon.get("/openapi.json"))["paths"]:
            for url in _filled(path, runs):
                async with client.get(url) as answer:
                    watch.look(f"the answer to GET {url}", await answer.read() + str(answer.headers).encode())
        for number in (1, 2):
            async with client.get("/config/presets/secrets", params={"config_dir": str(daemon.folder / "keys")}) as answer:
                watch.look(f"a preset, {number}", await answer.read())


def _filled(path: str, runs: list[str]) -> Iterator[str]:
    if "{run_id}" in path:
        yield from (path.replace("{run_id}", run).replace("{name}", "x") for run in runs)
    else:
        yield path.replace("{name}", "mine").replace("{sample_id}", "x")


async def heard(socket: aiohttp.ClientWebSocketResponse, watch: Watch) -> None:
    async for message in socket:
        watch.look("a frame of the WebSocket", message.data.encode())


async def replayed(daemon: Daemon, watch: Watch) -> None:
    for run in (await daemon.get("/runs"))["runs"]:
        async with daemon.client.get(f"/runs/{run['id']}/events", params={"limit": 5000}) as answer:
            watch.look("the events", await answer.read())
