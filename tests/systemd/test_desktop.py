"""The user units: a systemd of one user's own, as a desktop has it, without root."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import LONG, make_config
from tests.systemd.lab import VENV, Lab, booted, missing

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.timeout(300)]

HOME = Path("/home/desk")
SURROUNDINGS = ["env", "-i", "PATH=/usr/bin:/bin", f"HOME={HOME}", "XDG_RUNTIME_DIR=/run/desk", "LANG=C.UTF-8"]
AS_USER = ["setpriv", "--reuid", "desk", "--regid", "desk", "--init-groups", *SURROUNDINGS]
# As user@.service, without the login that PAM would note.
MANAGER = [
    "systemd-run", "--unit=desk", "--property=User=desk", "--property=Type=notify", "--property=Delegate=yes", "--property=KillMode=mixed",
    "--property=RuntimeDirectory=desk", "--property=RuntimeDirectoryMode=0700", "--setenv=XDG_RUNTIME_DIR=/run/desk",
    "/lib/systemd/systemd", "--user",
]  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Lab]:
    if why := missing():
        pytest.skip(why)
    with booted(tmp_path) as lab:
        lab.run("useradd", "--create-home", "desk")
        lab.run(*MANAGER)
        lab.state, lab.user = HOME / ".local/state/onetrainerd", "desk"
        lab.put_images(HOME / "work")
        yield lab


def test_a_user_installs_trains_restarts_and_is_seen_off_at_the_end_of_the_session(desk: Lab) -> None:
    told = desk.run(*AS_USER, str(VENV / "bin" / "onetrainerd"), "install", "--user").stdout
    assert f"wrote      {HOME}/.config/systemd/user/onetrainerd.service" in told
    assert "loginctl enable-linger" in told
    run_id = str(desk.call("POST", "/runs", {"config": make_config(HOME / "work", **LONG, backup_before_save=False)}, status=201)["id"])
    desk.wait_step(run_id, 1)
    trainer = desk.pid_of(run_id, "trainer")
    assert "/desk.service/" in desk.cgroup_of(trainer)
    assert "/onetrainer-run@" in desk.cgroup_of(trainer)
    desk.run(*AS_USER, "systemctl", "--user", "restart", "onetrainerd.service")
    desk.wait_step(run_id, desk.call("GET", f"/runs/{run_id}")["progress"]["global_step"] + 2)
    assert desk.pid_of(run_id, "trainer") == trainer
    desk.run("systemctl", "stop", "desk.service")
    record = desk.exit_of(run_id)
    assert record is not None
    assert record.cause == "stopped"
    assert record.last_backup is not None
    assert (desk.path(record.last_backup) / "meta.json").is_file()
    desk.run("systemctl", "reset-failed", check=False)
    desk.run(*MANAGER)
    assert (
        "would run    systemctl --user" in desk.run(*AS_USER, str(VENV / "bin" / "onetrainerd"), "uninstall", "--user", "--dry-run").stdout
    )
    desk.run(*AS_USER, str(VENV / "bin" / "onetrainerd"), "uninstall", "--user", "--purge")
    assert desk.run("find", f"{HOME}/.config", f"{HOME}/.local", "/run/desk", "-name", "*onetrainer*").stdout == ""
