"""Backups, saves and the final model of a run with the built-in trainer, listed, downloaded and deleted over HTTP."""

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import StartDaemon, make_config
from tests.e2e.daemon import Daemon, Json
from tests.e2e.test_run_files import begin, ended

pytestmark = pytest.mark.torch
EVERY: dict[str, Any] = {
    "backup_after": 2,
    "backup_after_unit": "STEP",
    "save_every": 3,
    "save_every_unit": "STEP",
    "backup_before_save": True,
}


async def fetch(daemon: Daemon, url: str, status: int = 200, **headers: str) -> tuple[bytes, aiohttp.ClientResponse]:
    async with daemon.client.get(url, headers={name.replace("_", "-"): text for name, text in headers.items()}) as answer:
        body = await answer.read()
        assert answer.status == status, body[:500]
        return body, answer


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
async def run(start_daemon: StartDaemon, folder: Path) -> tuple[Daemon, Json]:
    daemon = await start_daemon("--backend", "builtin")
    begun, _ = await begin(daemon, make_config(folder, **EVERY))
    return daemon, await ended(daemon, begun["id"])


async def test_what_a_run_has_kept_is_listed_as_it_lies_on_disk_downloaded_and_deleted(run: tuple[Daemon, Json], folder: Path) -> None:
    daemon, told = run
    base = f"/runs/{told['id']}"
    listed = await daemon.get(f"{base}/backups")
    workspace = folder / "workspace"
    assert {one["name"] for one in listed["backups"]} == {path.name for path in (workspace / "backup").iterdir()}
    assert {one["name"] for one in listed["saves"]} == {path.name for path in (workspace / "save").iterdir()}
    for one in (*listed["backups"], *listed["saves"], listed["model"]):
        assert (one["is_whole"], one["own"], one["age_s"] >= 0) == (True, True, True)
        files = [path for path in Path(one["path"]).rglob("*") if path.is_file()] if one["is_folder"] else [Path(one["path"])]
        assert one["size_bytes"] == sum(path.stat().st_size for path in files)
    assert (listed["model"]["path"], listed["model"]["trigger"]) == (told["model_path"], "final")

    for one in (listed["saves"][0], listed["model"]):
        whole = Path(one["path"]).read_bytes()
        body, answer = await fetch(daemon, one["url"])
        assert body == whole
        assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
        part, answer = await fetch(daemon, one["url"], 206, Range="bytes=100-", If_Range=answer.headers["ETag"])
        assert part == whole[100:]
        await fetch(daemon, one["url"], 304, If_None_Match=answer.headers["ETag"])

    newest, *_, oldest = listed["backups"]
    body, answer = await fetch(daemon, newest["url"])
    assert (answer.content_type, int(answer.headers["Content-Length"])) == ("application/x-tar", len(body))
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        archive.extractall(folder / "workspace" / "copy", filter="data")
    copied = folder / "workspace" / "copy" / newest["name"]
    assert _contents(copied) == _contents(Path(newest["path"]))
    async with daemon.client.head(newest["url"]) as head:
        assert (head.status, int(head.headers["Content-Length"])) == (200, len(body))

    second, _ = await begin(daemon, make_config(folder, epochs=3), continue_from=str(copied))
    assert (await ended(daemon, second["id"]))["continued_from"] == str(copied)

    await daemon.call("DELETE", oldest["url"])
    assert not Path(oldest["path"]).exists()
    await daemon.call("DELETE", oldest["url"], status=404)
    left = await daemon.get(f"{base}/backups")
    assert [one["name"] for one in left["backups"]] == [one["name"] for one in listed["backups"][:-1]]


async def test_what_is_no_kept_file_is_neither_sent_nor_deleted(run: tuple[Daemon, Json], folder: Path) -> None:
    daemon, told = run
    base, workspace = f"/runs/{told['id']}", folder / "workspace"
    secret = folder / "secret"
    secret.mkdir()
    (secret / "meta.json").write_text('{"train_progress": {"global_step": 1}}')
    (workspace / "backup" / "link").symlink_to(secret)
    (workspace / "save" / "link.safetensors").symlink_to("/etc/passwd")
    torn = workspace / "backup" / "2020-01-01_00-00-00-backup-7-1-2"
    torn.mkdir()
    save = min((workspace / "save").glob("*-save-*"))
    os.truncate(save, 500)
    cases = [
        ("GET", "backups/link", 404, "no_backup"), ("DELETE", "backups/link", 404, "no_backup"),
        ("GET", "saves/link.safetensors", 404, "no_model"),
        ("GET", f"backups/{torn.name}", 409, "backup_not_whole"), ("GET", f"saves/{save.name}", 409, "not_whole"),
        ("GET", "backups/..%2F..%2Fsecret", 400, "bad_name"), ("DELETE", "backups/..%2Fsave", 400, "bad_name"),
        ("DELETE", "backups/%2e%2e", 404, "no_route"), ("GET", "saves/a%00b", 400, "bad_name"), ("GET", "saves/.hidden", 400, "bad_name"),
        ("DELETE", f"backups/{'x' * 300}", 400, "bad_name"), ("DELETE", "backups/nothing", 404, "no_backup"),
    ]  # fmt: skip
    for method, path, status, code in cases:
        answer = await daemon.call(method, f"{base}/{path}", status=status)
        assert answer["details"]["code"] == code, (path, answer)
    assert (secret / "meta.json").exists()
    listed = await daemon.get(f"{base}/backups")
    assert [one["is_whole"] for one in listed["saves"] if one["name"] == save.name] == [False]
    await daemon.call("DELETE", f"{base}/backups/{torn.name}")
    Path(told["model_path"]).unlink()
    assert (await daemon.get(f"{base}/backups"))["model"] is None
    await daemon.call("GET", f"{base}/model", status=404)

    running, _ = await begin(daemon, make_config(folder, **{**EVERY, "epochs": 100_000, "sample_after_unit": "NEVER"}))
    whole = next(one for one in listed["backups"] if one["is_whole"])
    answer = await daemon.call("DELETE", whole["url"], status=409)
    assert (answer["details"]["code"], answer["details"]["run_id"]) == ("backup_in_use", running["id"])
    await daemon.post(f"/runs/{running['id']}/stop", {"force": True})
    await ended(daemon, running["id"])
    await daemon.call("DELETE", whole["url"])
