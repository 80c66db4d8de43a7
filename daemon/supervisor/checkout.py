"""OneTrainer as the daemon sees it: where its checkout and its Python are, and how its trainer is started. Imports nothing of it."""

import os
import shutil
from pathlib import Path

from daemon.errors import NotFoundError, UnavailableError
from daemon.supervisor.plan import Trainer

ENVIRONMENTS = ("venv", ".venv", "conda_env")
"""Where OneTrainer's own scripts put its Python (lib.include.sh), and where people do."""

_MARK = Path("modules", "trainer", "GenericTrainer.py")


def find_onetrainer(home: Path, python: Path | None) -> Trainer:
    """How the trainer of the checkout *home* is started, by *python* or by the interpreter that the checkout brings.

    Raises:
        NotFoundError: no such folder, no checkout, no interpreter (codes `no_folder`, `no_checkout`, `no_python`).
        UnavailableError: git is not on PATH (code `no_git`).
    """
    if not home.is_dir():
        raise NotFoundError(f"ONETRAINER_HOME: there is no folder {home}; set it to a checkout of OneTrainer", code="no_folder")
    if not (home / _MARK).is_file():
        raise NotFoundError(f"ONETRAINER_HOME: {home} is not a checkout of OneTrainer: {_MARK} is missing there", code="no_checkout")
    interpreter = python or _own_python(home)
    if not os.access(interpreter, os.X_OK) or interpreter.is_dir():
        raise NotFoundError(f"ONETRAINER_PYTHON: {interpreter} is not a program that can be run", code="no_python")
    if shutil.which("git") is None:
        raise UnavailableError(
            "git is not on PATH; OneTrainer runs it at each backup and at the final save, and fails without it: install git", code="no_git"
        )
    return Trainer("onetrainer", interpreter, home, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, private_hub_token=True)


def _own_python(home: Path) -> Path:
    for name in ENVIRONMENTS:
        candidate = home / name / "bin" / "python"
        if candidate.exists():
            return candidate
    raise NotFoundError(
        f"no Python was found in {home} ({', '.join(ENVIRONMENTS)}); run {home}/install.sh, or set ONETRAINER_PYTHON", code="no_python"
    )
