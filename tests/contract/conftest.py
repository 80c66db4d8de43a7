"""The subjects: the stand-in and the built-in trainer always; the real OneTrainer where ONETRAINER_HOME and ONETRAINER_PYTHON name it."""

import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.driver import ROOT, Attempt, Launcher, pack

STANDIN, REAL, BUILTIN = "standin", "onetrainer", "builtin"
# What holds for the built-in trainer as well; the rest is about what OneTrainer leaves unsaid, or about its files and keys.
_OF_EVERY_BACKEND = {
    "test_commands_are_answered_with_the_files_that_they_made",
    "test_a_held_training_stands_still_and_goes_on_with_what_was_asked_meanwhile",
    "test_a_released_training_saves_no_model_and_goes_on_from_its_backup",
    "test_sigterm_to_the_trainer_is_a_stop",
    "test_sigterm_to_the_runner_stops_with_a_backup_though_the_config_wants_none",
    "test_a_trainer_whose_runner_is_killed_backs_up_saves_and_ends",
}
_TINY = ROOT.parent / "shared" / "tools" / "make-tiny-onetrainer-run"


class Subject:
    """One program under the contract: how to start it, and a config that it trains in seconds."""

    def __init__(self, name: str, folder: Path, launcher: Launcher, base: dict[str, Any]) -> None:
        self.name = name
        self.is_real = name == REAL
        self.folder = folder
        self.launcher = launcher
        self._base = base
        self._attempts: list[Attempt] = []

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def model(self) -> Path:
        return self.folder / "output" / "model.safetensors"

    def config(self, **changes: Any) -> dict[str, Any]:
        """Two epochs of four steps, no samples, no saves, whatever *changes* say."""
        quiet = {"sample_after_unit": "NEVER", "backup_after_unit": "NEVER", "save_every_unit": "NEVER", "epochs": 2}
        own = {
            "workspace_dir": str(self.workspace), "cache_dir": str(self.folder / "cache"),
            "output_model_destination": str(self.model),
        }  # fmt: skip
        return {**self._base, **quiet, **own, **changes}

    def endless(self, **changes: Any) -> dict[str, Any]:
        """A config that trains until it is stopped."""
        return self.config(epochs=100_000, **changes)

    def start(self, config: dict[str, Any], **options: Any) -> Attempt:
        attempt = self.launcher.start(config, **options)
        self._attempts.append(attempt)
        return attempt

    def backups(self) -> list[Path]:
        """Whole ones, in the order of their steps."""
        return sorted((meta.parent for meta in self.workspace.glob("backup/*/meta.json")), key=lambda path: int(path.name.split("-")[-3]))

    def forget(self, attempt: Attempt) -> None:
        """It has no runner any more that could end it."""
        self._attempts.remove(attempt)

    def end_all(self) -> None:
        """Whatever a failed test left running."""
        for attempt in self._attempts:
            if not attempt.directory.exit.exists() and attempt.directory.lock.exists():
                try:
                    attempt.command("stop", force=True)
                    attempt.finish(30)
                except (AssertionError, OSError):
                    pass


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    named = {mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")}
    if "subject_name" in metafunc.fixturenames and "subject_name" not in named:
        of_every_backend = metafunc.definition.originalname in _OF_EVERY_BACKEND
        metafunc.parametrize("subject_name", [STANDIN, REAL, *([BUILTIN] if of_every_backend else [])], scope="session")


@pytest.fixture(scope="session")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("pyz"))


@pytest.fixture(scope="session")
def real_home() -> tuple[Path, str]:
    """OneTrainer's root and Python; skips where there is none."""
    home, python = os.environ.get("ONETRAINER_HOME"), os.environ.get("ONETRAINER_PYTHON")
    if not home or not python:
        pytest.skip("ONETRAINER_HOME and ONETRAINER_PYTHON are not set: no real OneTrainer to hold the contract with")
    return Path(home), python


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, real_home: tuple[Path, str]) -> Path:
    """A folder with a tiny real model, images and a config."""
    tool = Path(os.environ.get("ONETRAINER_TINY_TOOL", _TINY))
    if not tool.is_file():
        pytest.skip(f"{tool} is missing: it makes the tiny model for the real OneTrainer; ONETRAINER_TINY_TOOL says where it is")
    folder = tmp_path_factory.mktemp("tiny")
    subprocess.run([real_home[1], str(tool), str(folder / "run")], check=True, capture_output=True, timeout=300)
    return folder / "run"


@pytest.fixture
def subject(subject_name: str, tmp_path: Path, pyz: Path, request: pytest.FixtureRequest) -> Iterator[Subject]:
    if subject_name == REAL:
        home, python = request.getfixturevalue("real_home")
        base = json.loads((request.getfixturevalue("tiny") / "config.json").read_text())
    elif subject_name == BUILTIN:
        home, python = tmp_path, sys.executable
        keys = ("batch_size", "concepts", "samples", "tensorboard")
        base = {key: value for key, value in _standin_config(tmp_path).items() if key in keys} | {"resolution": "8", "ema": "OFF"}
    else:
        home, python = ROOT / "tests" / "standin", sys.executable
        base = _standin_config(tmp_path)
    made = Subject(subject_name, tmp_path, Launcher(tmp_path, pyz, python, home, BUILTIN if subject_name == BUILTIN else REAL), base)
    yield made
    made.end_all()


def _standin_config(folder: Path) -> dict[str, Any]:
    (folder / "model").mkdir()
    images = folder / "images"
    images.mkdir()
    for number in range(8):
        (images / f"{number}.png").write_bytes(_png())
    sample = {"width": 64, "height": 64, "diffusion_steps": 4, "cfg_scale": 3.0}
    return {
        "__version": 11, "training_method": "LORA", "base_model_name": str(folder / "model"), "output_model_format": "LEGACY_LORA",
        "batch_size": 2, "learning_rate": 1e-3, "tensorboard": False,
        "concepts": [{"__version": 2, "name": "shapes", "path": str(images), "seed": 42, "enabled": True}],
        "samples": [{"prompt": "a circle number 1", "seed": 7, **sample}, {"prompt": "a square / number 2", "seed": 8, **sample}],
    }  # fmt: skip


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
