"""The wheel: installed into an empty environment, it brings all that the daemon needs."""

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    return next(folder.glob("*.whl"))


def test_the_wheel_carries_packages_presets_settings_and_units(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for wanted in (
        "daemon/_data/configs/onetrainerd.toml",
        "daemon/_data/configs/presets/digits.json",
        "daemon/_data/configs/builtin.catalog.json",
        "daemon/_data/systemd/onetrainerd.service",
        "daemon/_data/systemd/onetrainerd.service.d/direct.conf",
        "daemon/_data/systemd/onetrainer-run@.service",
        "daemon/_data/systemd/user/onetrainer-run.socket",
        "daemon/api/docs_page/page.js",
        "ipc/journal.py",
        "ipc/PROTOCOL.md",
        "trainer_runner/runner/main.py",
        "trainer_runner/backends/builtin/model.py",
    ):
        assert wanted in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"daemon", "ipc", "trainer_runner"}


@pytest.mark.slow
def test_the_wheel_in_an_empty_environment_serves(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True, timeout=110)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ONETRAINER", "PYTHON"))}
    process = subprocess.Popen(
        [str(tmp_path / "venv" / "bin" / "onetrainerd"), "serve", "--state-dir", "state", "--port", "0"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert re.match(r"onetrainerd \S+ listens on http://127", process.stdout.readline())
    finally:
        process.terminate()
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
