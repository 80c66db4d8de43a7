"""Labs with onetrainerd installed, one for each launcher; and a training that runs through the tests of a module."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import LONG, make_config
from tests.systemd.lab import STATE, Lab, booted, missing

WORK = STATE / "work"
# One thread for each trainer: there may be few processors, and the daemons need theirs.
_DROP_IN = "[Service]\nWatchdogSec=4\nRestartSec=100ms\nEnvironment=OMP_NUM_THREADS=1\n"


@dataclass
class Installed:
    """A lab in which `onetrainerd install` was run, and what it said."""

    lab: Lab
    launcher: str
    said: str
    run_id: str = ""

    def start(self, name: str, **changes: Any) -> str:
        """Start a training in a workspace of its own; the id of its run."""
        config = make_config(
            WORK, workspace_dir=str(WORK / name), output_model_destination=str(WORK / name / "model.safetensors"), **changes
        )
        return str(self.lab.call("POST", "/runs", {"config": config}, status=201)["id"])


@pytest.fixture(scope="module", params=["systemd", "direct"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    if why := missing():
        pytest.skip(why)
    with booted(tmp_path_factory.mktemp("lab")) as lab:
        drop_in = lab.path("/etc/systemd/system/onetrainerd.service.d/lab.conf")
        drop_in.parent.mkdir(parents=True)
        drop_in.write_text(_DROP_IN)
        said = lab.onetrainerd("install", "--launcher", request.param).stdout
        lab.put_images(WORK)
        yield Installed(lab, request.param, said)


@pytest.fixture(scope="module")
def training(installed: Installed) -> str:
    """A training that goes on until somebody stops it; the id of its run."""
    run_id = installed.start("long", **LONG, backup_before_save=False)
    installed.lab.wait_step(run_id, 1)
    return run_id


@pytest.fixture(scope="session")
def folder_of_units() -> Path:
    return Path(__file__).parents[2] / "systemd"
