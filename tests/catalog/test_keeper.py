"""The daemon asks a real process: the stand-in checkout under our own Python, from the packed archive."""

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from daemon.catalog.asking import Asked
from daemon.catalog.deep import DeepReader
from daemon.catalog.keeper import Catalog
from daemon.catalog.narrowing import narrowed
from daemon.config.described import Described
from daemon.errors import InvalidError, UnavailableError
from tests.contract.driver import ROOT, pack

STANDIN = ROOT / "tests" / "standin"
_DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("pyz"))


@pytest.fixture
def asked(archive: Path, tmp_path: Path) -> Asked:
    home = tmp_path / "home"
    shutil.copytree(STANDIN, home)
    return Asked("onetrainer", Path(sys.executable), home, archive)


HOLLOW = json.dumps(
    {
        "fingerprint": [],
        "catalog": {
            "v": 1, "backend": "onetrainer", "schema": {"$schema": "x", "x-text-numbers": True}, "config_version": 1, "model_types": [],
            "optimizers": {}, "missing": [],
        },
    }
).encode()  # fmt: skip


async def known(catalog: Catalog) -> Described:
    return await catalog.look(wait_s=_DEADLINE_S)


async def look_until(catalog: Catalog, condition: Any) -> Described:
    async with asyncio.timeout(_DEADLINE_S):
        while not condition(described := await catalog.look()):  # noqa: ASYNC110 - a file changes, of which nothing tells
            await asyncio.sleep(0.05)
        return described


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - another process ends, of which nothing tells
            await asyncio.sleep(0.05)


async def test_a_trainer_is_asked_in_the_background_and_the_answer_is_kept_for_the_next_daemon(asked: Asked, tmp_path: Path) -> None:
    async with Catalog(asked, tmp_path / "catalog.json") as catalog:
        assert not catalog.now().is_known
        assert (await known(catalog)).config_version == 11
        await look_until(catalog, lambda _: (tmp_path / "catalog.json").exists())
    nobody = Asked("onetrainer", asked.python, asked.cwd, asked.archive, {})
    async with Catalog(nobody, tmp_path / "catalog.json") as catalog:
        assert catalog.now().is_known
        assert catalog.now() == await known(catalog)


async def test_a_changed_checkout_is_described_anew(asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.catalog.keeper._LOOK_S", 0.0)
    async with Catalog(asked, tmp_path / "catalog.json") as catalog:
        assert "rows" not in (await known(catalog)).root["properties"]
        file = asked.cwd / "modules/util/config/TrainConfig.py"
        file.write_text(file.read_text().replace('("epochs", 100, int, False)', '("epochs", 100, int, False), ("rows", 3, int, False)'))
        described = await look_until(catalog, lambda described: "rows" in described.root["properties"])
        assert described.defaults["rows"] == 3


async def test_a_trainer_that_cannot_be_asked_is_a_text_and_an_older_answer_stays(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.catalog.keeper._LOOK_S", 0.0)
    async with Catalog(asked, tmp_path / "catalog.json") as catalog:
        await known(catalog)
        (asked.cwd / "modules/util/config/SampleConfig.py").write_text("import no_such_module_at_all\n")
        described = await look_until(catalog, lambda described: described.problem is not None)
        assert "no_such_module_at_all" in str(described.problem)
        assert described.is_known


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"catalog": {"v": 9}, "fingerprint": []}', b'{"catalog": {"v": 1}}', HOLLOW])
async def test_a_broken_cache_is_as_good_as_none(asked: Asked, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "catalog.json").write_bytes(text)
    silent = Asked("onetrainer", Path("/no/such/python"), asked.cwd, asked.archive)
    async with Catalog(silent, tmp_path / "catalog.json") as catalog:
        described = await known(catalog)
    assert not described.is_known
    assert "/no/such/python cannot be run" in str(described.problem)


async def test_a_trainer_that_hangs_is_killed_with_its_children(asked: Asked, tmp_path: Path) -> None:
    (asked.cwd / "modules/util/config/SampleConfig.py").write_text(
        "import subprocess, time\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid))\n"
        "time.sleep(600)\n"
    )
    async with Catalog(asked, tmp_path / "catalog.json", deadline_s=3.0) as catalog:
        assert "did not describe its configs within 3 s" in str((await known(catalog)).problem)
    child = int((tmp_path / "pid").read_text())
    await until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


async def test_the_builtin_trainer_is_known_at_once(archive: Path, tmp_path: Path) -> None:
    async with Catalog(Asked("builtin", Path(sys.executable), tmp_path, archive), tmp_path / "catalog.json") as catalog:
        assert catalog.now().is_known
        assert catalog.now().root["properties"]["epochs"]["default"] == 40
    assert not (tmp_path / "catalog.json").exists()


@pytest.fixture
async def reader(asked: Asked, tmp_path: Path) -> AsyncIterator[DeepReader]:
    async with DeepReader(asked, Catalog(asked, tmp_path / "catalog.json"), idle_s=0.2) as reader:
        yield reader


def workers() -> list[int]:
    return [child.pid for child in psutil.Process().children() if "worker" in child.cmdline()]


async def test_a_config_is_read_in_depth_by_a_worker_that_ends_when_idle(reader: DeepReader) -> None:
    first, second = await asyncio.gather(reader.read({"epochs": "two"}), reader.read({"epochs": 3, "epoch": 3}))
    assert [path for path, _ in first.refused] == [("epochs",)]
    assert (second.refused, second.unknown, second.config and second.config["epochs"]) == ([], [("epoch",)], 3)
    await until(lambda: not workers())
    assert (await reader.read({})).refused == []


async def test_a_worker_that_has_died_is_replaced(reader: DeepReader) -> None:
    await reader.read({})
    [pid] = workers()
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) >= 500, "it would be spared, and a training killed"
    os.kill(pid, 9)
    await until(lambda: pid not in workers())
    with contextlib.suppress(UnavailableError):  # the first one may find the end of its pipe, and says so
        await reader.read({})
    assert (await reader.read({})).refused == []


async def test_a_checkout_that_does_not_import_is_told(reader: DeepReader, asked: Asked) -> None:
    (asked.cwd / "modules/util/config/SampleConfig.py").write_text("import no_such_module_at_all\n")
    with pytest.raises(UnavailableError, match="no_such_module_at_all"):
        await reader.read({})


def test_a_schema_is_narrowed_to_a_model_type_and_a_method() -> None:
    described = Described.from_json(
        {
            "v": 1, "backend": "onetrainer", "config_version": 11, "optimizers": {}, "missing": [],
            "schema": {
                "$schema": "x", "$ref": "#/$defs/TrainConfig", "$defs": {"TrainConfig": {"type": "object", "properties": {
                    key: {"type": "string", "default": "FINE_TUNE"} for key in (
                        "model_type", "training_method", "output_model_format", "unet", "transformer", "text_encoder", "text_encoder_2",
                        "text_encoder_2_layer_skip", "text_encoder_layer_skip", "lora_rank", "peft_type", "embedding", "epochs",
                    )
                }}},
            },
            "model_types": [
                {"name": "A", "training_methods": ["FINE_TUNE", "LORA"], "parts": ["unet", "text_encoder"],
                 "output_formats": {"FINE_TUNE": ["DIFFUSERS"], "LORA": ["KOHYA"]}},
                {"name": "B", "training_methods": ["LORA"], "parts": ["transformer", "text_encoder", "text_encoder_2"]},
            ],
        }
    )  # fmt: skip
    properties = narrowed(described, "A", "LORA")["$defs"]["TrainConfig"]["properties"]
    assert properties.keys() == {
        "model_type", "training_method", "output_model_format", "unet", "text_encoder", "text_encoder_layer_skip", "lora_rank",
        "peft_type", "epochs",
    }  # fmt: skip
    assert properties["output_model_format"] == {"type": "string", "enum": ["KOHYA"]}
    properties = narrowed(described, "A", None)["$defs"]["TrainConfig"]["properties"]
    assert properties["training_method"] == {"type": "string", "enum": ["FINE_TUNE", "LORA"], "default": "FINE_TUNE"}
    assert narrowed(described, None, None)["$defs"] == described.schema["$defs"]
    for model_type, method, what in (
        ("C", None, "allowed: A, B"),
        ("B", "FINE_TUNE", "allowed: LORA"),
        (None, "LORRA", "did you mean LORA"),
    ):
        with pytest.raises(InvalidError, match=what):
            narrowed(described, model_type, method)
    json.dumps(narrowed(described, "B", "LORA"))
