"""The built-in trainer as it really runs: packed, under a real runner, over real pipes."""

import os
import signal
import sys
from pathlib import Path

import pytest

from ipc.journal import JournalReader
from tests.builtin.lab import config_for
from tests.contract.driver import Launcher

pytestmark = pytest.mark.torch


@pytest.fixture
def launcher(tmp_path: Path, archive: Path) -> Launcher:
    return Launcher(tmp_path / "state", archive, sys.executable, tmp_path, "builtin")


def test_a_backup_and_a_stop_come_over_the_pipes(folder: Path, launcher: Launcher) -> None:
    attempt = launcher.start(config_for(folder, epochs=100_000))
    attempt.wait_step(3)
    assert (Path(attempt.answer(attempt.command("backup"))["result"]["path"]) / "meta.json").exists()
    attempt.command("stop")
    record = attempt.finish()
    assert (record.cause, record.code) == ("stopped", 0)
    assert record.model_path == str(folder / "model.safetensors")
    steps = [row["global_step"] for row in attempt.steps]
    assert steps == list(range(1, record.global_step + 1)), "every step is told once"


def test_a_wrong_config_ends_the_attempt_with_its_lines(folder: Path, launcher: Launcher) -> None:
    record = launcher.start(config_for(folder, epochs="two", ema="ON")).finish()
    assert (record.cause, record.code) == ("config_error", 1)
    assert record.error
    assert record.error["where"] == "config"
    assert record.error["message"] == "epochs is 'two': an integer from 1 to 1000000 was expected\nema is 'ON': allowed: OFF, CPU, GPU"


def test_an_orphan_backs_up_and_saves_its_model(folder: Path, launcher: Launcher) -> None:
    attempt = launcher.start(config_for(folder, epochs=100_000))
    attempt.wait_step(3)
    trainer = os.pidfd_open(attempt.of("trainer.spawned")[0]["trainer"]["pid"])
    os.kill(attempt.of("runner.started")[0]["runner"]["pid"], signal.SIGKILL)
    with open(trainer, closefd=True):  # noqa: PTH123 - a descriptor
        wait_for_exit(trainer)
    (backup,) = (folder / "workspace" / "backup").iterdir()
    assert (backup / "meta.json").exists()
    assert (folder / "model.safetensors").exists()
    told = JournalReader(attempt.directory.path / "orphan").read()
    assert [(event["type"], event.get("trigger")) for event in told if event["type"] in ("backup", "save")] == [
        ("backup", "orphan"),
        ("save", "final"),
    ]


def wait_for_exit(pidfd: int) -> None:
    import select  # noqa: PLC0415 - the one place

    assert select.select([pidfd], [], [], 60)[0], "the trainer lives on"
