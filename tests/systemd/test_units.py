"""The units as `install` writes them, looked at by systemd-analyze without a systemd that runs."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from daemon.cli.installing import rendering
from daemon.cli.installing.place import RUN, SERVICE, SOCKET, Owner, Place
from daemon.settings.model import load_settings

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="the package systemd is not installed")


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All units, as they are where nothing that is needed lies in a home folder: the developer's venv may."""
    monkeypatch.setattr(rendering, "_HOMES", ())
    monkeypatch.setattr(rendering, "_TEMPORARY", ())
    state = Path("/var/lib/onetrainerd")
    settings = load_settings({}, {"STATE_DIRECTORY": str(state), "HOME": str(state)}, state)
    for folder, is_user in ((tmp_path / "system", False), (tmp_path / "user", True)):
        place = Place(is_user, folder, Path("/etc/onetrainerd/onetrainerd.toml"), Path("/run/onetrainerd/run.sock"), state)
        facts = rendering.Facts(place, Owner("root", "root", state, is_there=True), settings, ["video"])
        folder.mkdir()
        for name in (SERVICE, SOCKET, RUN):
            (folder / name).write_text(rendering.render(f"user/{name}" if is_user else name, facts))
    return tmp_path


@pytest.mark.parametrize("manager", ["system", "user"])
def test_verify_finds_nothing(units: Path, manager: str) -> None:
    paths = [str(units / manager / name) for name in (SERVICE, SOCKET, RUN)]
    command = ["systemd-analyze", f"--{manager}", "--man=no", "verify", *paths]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(units)}
    told = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (told.stdout, told.stderr, told.returncode) == ("", "", 0)


@pytest.mark.parametrize(("unit", "most"), [(SERVICE, 2.0), (RUN, 3.0)])
def test_a_unit_exposes_no_more_than_it_may(units: Path, unit: str, most: float) -> None:
    path = str(units / "system" / unit)
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", path], capture_output=True, text=True, check=False
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told.stdout)
    assert found, told
    assert float(found[1]) <= most, told.stdout


def test_a_training_keeps_its_gpu_and_its_compiler(units: Path) -> None:
    directives = [line for line in (units / "system" / RUN).read_text().splitlines() if line and line[0] not in "#["]
    for wanted in ("DeviceAllow=char-nvidia* rw", "DeviceAllow=char-drm rw", "DeviceAllow=char-kfd rw", "SupplementaryGroups=video"):
        assert wanted in directives
    for harmful in ("PrivateDevices=", "MemoryDenyWriteExecute=", "PrivateUsers=", "RemoveIPC=", "Delegate=", "PrivateNetwork="):
        assert not [line for line in directives if line.startswith(harmful)]


def test_the_drop_in_for_the_direct_launcher_takes_back_what_would_reach_into_a_trainer() -> None:
    text = (Path(__file__).parents[2] / "systemd" / f"{SERVICE}.d" / "direct.conf").read_text()
    for line in ("KillMode=process", "PrivateTmp=no", "DevicePolicy=auto", "DeviceAllow=", "ProtectClock=no", "SystemCallFilter="):
        assert f"\n{line}\n" in text
