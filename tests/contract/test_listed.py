"""With the real OneTrainer: what a daemon lists of its presets, and of a run's backups, saves and samples, is what lies on the disk."""

import asyncio
import io
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.daemon import Daemon, Json

pytestmark = pytest.mark.timeout(900)
_COUNTERS = re.compile(r"-(?:backup|save|training-sample)-(\d+)-(\d+)-(\d+)")


@pytest.fixture
async def daemon(real_home: tuple[Path, str], tiny: Path) -> AsyncIterator[Daemon]:
    home, python = real_home
    daemon = Daemon(tiny, environment={"ONETRAINER_HOME": str(home), "ONETRAINER_PYTHON": python})
    await daemon.start()
    yield daemon
    await daemon.stop()
    daemon.kill_trainings()


async def fetch(daemon: Daemon, url: str) -> bytes:
    async with daemon.client.get(url) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())


async def test_every_shipped_preset_is_listed_and_read_over_http(daemon: Daemon, real_home: tuple[Path, str]) -> None:
    shipped = {str(path): path for path in (real_home[0] / "training_presets").rglob("*.json") if path.name != "#.json"}
    listed = [one for one in (await daemon.get("/config/presets"))["presets"] if one["origin"] == "onetrainer"]
    assert {one["path"] for one in listed} == shipped.keys()
    for one in listed:
        assert one["error"] is None
        text = json.loads(shipped[one["path"]].read_bytes())
        async with daemon.client.get(one["url"]) as answer:
            assert (await answer.json())["config"] == text, one["url"]


async def test_backups_saves_samples_and_the_config_of_a_run_are_told_as_they_lie_on_disk(daemon: Daemon, tiny: Path) -> None:
    config = json.loads((tiny / "config.json").read_text())
    order = {
        "preset": "onetrainer/SD1.5/#sd 1.5 LoRA", "config": config,
        "config_values": ["epochs=3", "backup_after=5", "backup_after_unit=STEP", "sample_after=4", "save_every=5", "tensorboard=false"],
    }  # fmt: skip
    async with daemon.client.post("/runs", json=order) as answer:
        assert answer.status == 201, await answer.text()
        base = f"/runs/{(await answer.json())['id']}"
    async with asyncio.timeout(600), daemon.client.get(f"{base}/log?follow=true") as log:
        await log.read()
    run = await daemon.get(base)
    assert (run["state"], run["preset"]) == ("completed", order["preset"]), run["error"]
    workspace = Path(config["workspace_dir"])

    told = await daemon.get(f"{base}/config")
    [written] = (workspace / "config").glob("*.json")
    assert told["effective"] == json.loads(written.read_text())
    assert (told["effective"]["epochs"], told["effective"]["layer_filter_preset"]) == (3, "attn-mlp")

    listed = await daemon.get(f"{base}/backups")
    assert {one["path"] for one in listed["backups"]} == {str(path) for path in (workspace / "backup").iterdir()}
    assert {one["path"] for one in listed["saves"]} == {str(path) for path in (workspace / "save").iterdir()}
    assert len(listed["backups"]) >= 3
    assert len(listed["saves"]) >= 2
    for one in (*listed["backups"], *listed["saves"]):
        match = _COUNTERS.search(one["name"])
        assert match is not None
        assert [one["global_step"], one["epoch"], one["epoch_step"]] == [int(number) for number in match.groups()]
        assert (one["size_bytes"], one["is_whole"], one["own"]) == (size_of(Path(one["path"])), True, True)
    assert {one["trigger"] for one in listed["backups"]} == {"interval", "final"}
    for one in (listed["saves"][0], listed["model"]):
        assert await fetch(daemon, one["url"]) == Path(one["path"]).read_bytes()
    assert listed["model"]["path"] == config["output_model_destination"]

    await samples_are_told(daemon, base, workspace, config)
    await daemon.call("DELETE", listed["backups"][-1]["url"])
    assert not Path(listed["backups"][-1]["path"]).exists()


async def samples_are_told(daemon: Daemon, base: str, workspace: Path, config: Json) -> None:
    drawn = {str(path) for path in (workspace / "samples").rglob("*") if path.is_file()}
    assert len(drawn) >= 6
    for url in (f"{base}/samples", "/samples"):
        found: list[Json] = []
        answer = await daemon.get(f"{url}?limit=4")
        while True:
            found += answer["samples"]
            if answer["next"] is None:
                break
            answer = await daemon.get(f"{url}?limit=4&cursor={answer['next']}")
        assert len(found) == len(drawn)
        assert {one["path"] for one in found} == drawn
        for one in found:
            path = Path(one["path"])
            match = _COUNTERS.search(path.name)
            assert match is not None
            assert [one["step"], one["epoch"], one["epoch_step"]] == [int(number) for number in match.groups()]
            wanted = config["samples"][one["prompt_index"]]
            assert (one["prompt"], one["seed"], one["kind"]) == (wanted["prompt"], wanted["seed"], "default")
            assert path.parent.name.startswith(f"{one['prompt_index']} - ")
            with Image.open(path) as image:
                assert (one["width"], one["height"], one["media_type"]) == (*image.size, Image.MIME[str(image.format)])
            assert one["size_bytes"] == path.stat().st_size
        for index in (0, 1):
            of_one = (await daemon.get(f"{url}?prompt_index={index}&step_from=1&limit=1000"))["samples"]
            assert {one["path"] for one in of_one} == {
                one["path"] for one in found if one["prompt_index"] == index and one["step"] >= 1
            }  # fmt: skip
    with Image.open(io.BytesIO(await fetch(daemon, f"{found[0]['thumbnail']}?size=64"))) as small:
        assert (small.format, small.size) == ("WEBP", (64, 64))
    assert os.path.commonpath([one["path"] for one in found]).startswith(str(workspace))
