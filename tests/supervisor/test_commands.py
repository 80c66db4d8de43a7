"""What a command that was not carried out means for who asked for it."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from daemon.errors import ConflictError, DaemonError, InvalidError, UnavailableError, UnsupportedError
from daemon.runs.disk import Room
from daemon.supervisor.commands import CommandDesk, _unheard
from ipc.run_directory import AttemptDirectory
from tests.supervisor.conftest import FINISHED, READY, Lab, spec

HOLD = ["await_command"]
FULL = "OSError: [Errno 28] No space left on device: '/data/backup/x.safetensors'"


@pytest.mark.parametrize(
    ("code", "message", "error", "told_code", "details"),
    [
        ("failed", FULL, UnavailableError, "disk_full", {"path": "/data/backup/x.safetensors"}),
        ("failed", "SafetensorError: I/O error: No space left on device (os error 28)", UnavailableError, "disk_full", {}),
        ("failed", "OSError: [Errno 122] Disk quota exceeded", UnavailableError, "disk_full", {}),
        ("failed", "RuntimeError: the picture has no pixels", UnavailableError, "command_failed", {}),
        ("wrong_state", "the training is not paused", ConflictError, "wrong_state", {}),
        ("run_ended", "the training ended before it was carried out", ConflictError, "run_ended", {}),
        ("trainer_died", "the trainer died", ConflictError, "trainer_died", {}),
        ("unsupported", "never", UnsupportedError, "unsupported", {}),
        ("invalid", "seed: -7", InvalidError, "invalid", {}),
    ],
)
async def test_each_answer_of_a_trainer_is_an_error_of_its_own_kind(
    lab: Lab, code: str, message: str, error: type[DaemonError], told_code: str, details: dict[str, Any]
) -> None:
    answer = ["answer", "failed", {"code": code, "message": message}]
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(spec(READY, HOLD, answer, HOLD, FINISHED))
        with pytest.raises(DaemonError) as caught:
            await run.send("backup", settle_s=20)
        assert (type(caught.value), caught.value.code, caught.value.details) == (error, told_code, details)
        assert message in caught.value.message
        assert ("make room" in caught.value.message) == (told_code == "disk_full")


async def test_a_runner_that_accepts_nothing_is_silent_or_has_a_full_disk(tmp_path: Path) -> None:
    attempt = AttemptDirectory(tmp_path)
    os.mkfifo(attempt.control_pipe)
    pipe = os.open(attempt.control_pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(UnavailableError, match="is the process stopped") as caught:
            await CommandDesk(attempt, accept_s=0.05).send("stop", {}, 0)
        assert caught.value.code == "runner_silent"
    finally:
        os.close(pipe)
    full = _unheard("stop", 10.0, Room(str(tmp_path), 1 << 30, 4096))
    assert (full.code, full.details) == ("disk_full", {"path": str(tmp_path)})
    assert "make room there" in full.message


async def test_a_command_that_a_runner_about_to_end_never_took_is_a_conflict_at_once(tmp_path: Path) -> None:
    attempt = AttemptDirectory(tmp_path)
    os.mkfifo(attempt.control_pipe)
    pipe = os.open(attempt.control_pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        desk, has_come = CommandDesk(attempt, accept_s=60), asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe, has_come.set)
        asked = asyncio.create_task(desk.send("backup", {}, 0))
        async with asyncio.timeout(10):
            await has_come.wait()
            asyncio.get_running_loop().remove_reader(pipe)
            desk.close()
            with pytest.raises(ConflictError, match="backup: the run ended before") as caught:
                await asked
        assert caught.value.code == "run_ended"
    finally:
        os.close(pipe)


async def test_a_stop_has_what_it_wanted_when_the_runner_is_gone(tmp_path: Path) -> None:
    attempt = AttemptDirectory(tmp_path)
    os.mkfifo(attempt.control_pipe)
    pipe = os.open(attempt.control_pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        desk = CommandDesk(attempt, accept_s=60)
        asked = asyncio.create_task(desk.send("stop", {}, 0))
        await asyncio.sleep(0)  # it is written, and nobody says that he has heard it: the disk is full
        desk.close()
        async with asyncio.timeout(10):
            assert await asked is None
    finally:
        os.close(pipe)
