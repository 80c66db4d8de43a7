"""kill -9 of the daemon, the runner and the trainer, in each phase of a training: what is told afterwards is true, and it goes on."""

import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import REAL, STANDIN, Subject
from tests.e2e.daemon import Daemon, Json, Listener

pytestmark = pytest.mark.timeout(600)

VICTIMS = ["daemon", "runner", "trainer"]
ENDED = ("completed", "stopped", "failed", "lost")


def says(text: str) -> Callable[[Listener], Any]:
    return lambda listener: listener.wait("training_state", lambda data: data["status_text"].lower().startswith(text))


PHASES: dict[str, Callable[[Listener], Any]] = {
    "load": says("loading the model"),
    "caching": says("creating the data loader"),
    "training": lambda listener: listener.wait("progress", lambda data: data["global_step"] >= 3),
    "sampling": lambda listener: listener.wait("sampling"),
    "backup": says("creating backup"),
    "final save": says("saving the final model"),
}


@pytest.fixture
async def daemon(subject: Subject) -> AsyncIterator[Daemon]:
    launcher = subject.launcher
    environment = {
        "ONETRAINER_PYTHON": launcher.python,
        "PYTHONDONTWRITEBYTECODE": "1",
        "ONETRAINERD_PATHS__ROOTS": str(subject.folder.parent),  # the tiny model and its images lie beside our folder
    }
    made = Daemon(subject.folder, "--onetrainer", str(launcher.home), environment=environment)
    await made.start()
    yield made
    await made.stop()
    made.kill_trainings()


def newest_whole(subject: Subject) -> Path | None:
    backups = subject.backups()
    return backups[-1] if backups else None


async def wait_ended(daemon: Daemon, run_id: str) -> Json:
    async with daemon.listen() as listener:
        while not is_over(run := await daemon.get(f"/runs/{run_id}")):
            listener.heard.append(await listener.socket.receive_json())
    return run


def is_over(run: Json) -> bool:
    """A lost run is over when its trainer is, too."""
    return run["state"] in ENDED and not (run["state"] == "lost" and "still lives" in run["error"])


@pytest.mark.parametrize("subject_name", [STANDIN, REAL])
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("victim", VICTIMS)
async def test_after_a_kill_the_truth_is_told_and_training_continues(subject: Subject, daemon: Daemon, victim: str, phase: str) -> None:
    config = subject.config(
        epochs=4, backup_after=5, backup_after_unit="STEP", sample_after=6, sample_after_unit="STEP", backup_before_save=True
    )
    async with daemon.listen() as listener:
        run_id = (await daemon.call("POST", "/runs", {"config": config}, status=201))["id"]
        await PHASES[phase](listener)
        if victim == "daemon":
            await daemon.kill()
        else:
            daemon.process_of(run_id, victim).send_signal(signal.SIGKILL)
    if victim == "daemon":
        await daemon.start()
    run = await wait_ended(daemon, run_id)

    match victim, run["state"]:
        case "daemon", state:
            assert (state, run["exit"]["code"]) == ("completed", 0), run
        case "runner", state:
            assert state in ("lost", "completed"), run  # completed: the final save was over when the signal came
        case "trainer", "failed":
            assert (run["cause"], run["exit"]["signal"]) == ("killed", "SIGKILL"), run
        case _:
            assert (victim, run["state"], run["exit"]["outcome"]) == ("trainer", "completed", "completed"), run
    if run["state"] == "completed":
        assert subject.model.is_file()
    if run["model_path"]:
        assert Path(run["model_path"]).exists()
    if run["last_backup"]:
        assert (Path(run["last_backup"]) / "meta.json").is_file()

    whole = newest_whole(subject)
    async with daemon.listen() as listener:
        goes_on = subject.config(epochs=6, continue_last_backup=True, backup_before_save=False)
        second = (await daemon.call("POST", "/runs", {"config": goes_on}, status=201))["id"]
        await wait_ended(daemon, second)
    after = await daemon.get(f"/runs/{second}")
    assert after["state"] == "completed", after
    assert after["continued_from"] == (str(whole) if whole else None)
    assert after["progress"]["global_step"] == 24


@pytest.mark.parametrize("subject_name", [STANDIN, REAL])
async def test_a_killed_trainer_is_restarted_from_its_backup_where_its_policy_says_so(subject: Subject, daemon: Daemon) -> None:
    config = subject.config(epochs=12, backup_after=5, backup_after_unit="STEP")
    policy = {"on": ["killed"], "max_restarts": 2, "backoff_s": 0.1}
    async with daemon.listen() as listener:
        run_id = (await daemon.call("POST", "/runs", {"config": config, "restart": policy}, status=201))["id"]
        await listener.wait("log", lambda data: data["message"].startswith("backup"))
        await listener.wait("progress", lambda data: data["global_step"] >= 6)
        daemon.process_of(run_id, "trainer").send_signal(signal.SIGKILL)
        await listener.wait("training_state", lambda data: data["state"] == "waiting_restart")
    run = await wait_ended(daemon, run_id)
    assert (run["state"], run["attempt"], run["progress"]["global_step"]) == ("completed", 2, 48), run
    assert run["continued_from"] is not None
    assert Path(run["continued_from"]).parent == subject.workspace / "backup"
