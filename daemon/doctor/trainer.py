"""The trainer: OneTrainer's checkout, its Python, torch and CUDA, git."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from daemon.doctor.findings import Case, Finding, fail, ok, warn
from daemon.errors import DaemonError
from daemon.supervisor.checkout import find_onetrainer
from daemon.system.probe import NOT_INSTALLED, probe

_NEEDED = (
    "modules/trainer/GenericTrainer.py", "modules/util/create.py", "modules/util/config/TrainConfig.py",
    "modules/util/config/SampleConfig.py", "modules/util/callbacks/TrainCallbacks.py", "modules/util/commands/TrainCommands.py",
    "modules/util/TrainProgress.py",
)  # fmt: skip
"""What the adapter asks of a checkout, beside what it asks of the objects that these make."""

PROBE_S = 60.0
IMPORT_S = 150.0
_GIT_S = 10.0
_OLDEST = (3, 10)
_BEGINNING = "from modules.trainer.GenericTrainer import GenericTrainer; from modules.util.config.TrainConfig import TrainConfig"


def checkout(case: Case) -> Iterator[Finding]:
    """Whether there is a OneTrainer, whole and readable."""
    home = case.settings.onetrainer.home
    if home is None:
        yield ok("checkout", "none is configured: the built-in trainer serves. ONETRAINER_HOME names OneTrainer's")
        return
    try:
        find_onetrainer(home, case.settings.onetrainer.python)
    except DaemonError as error:
        if error.code in ("no_folder", "no_checkout"):
            yield fail("checkout", error.message, "git clone OneTrainer there, or set ONETRAINER_HOME (onetrainer.home) to where it is")
            return
    missing = [name for name in _NEEDED if not os.access(home / name, os.R_OK)]
    if missing:
        what = f"{home} is not whole, or not readable for this user: {', '.join(missing[:3])}"
        yield fail("checkout", what, f"git -C {home} status says what is gone; git -C {home} checkout . brings it back")
        return
    if not (home / "training_presets").is_dir():
        yield warn("checkout", f"{home} has no training_presets: OneTrainer's presets are not listed", "update the checkout")
    yield _commit(home)


def _commit(home: Path) -> Finding:
    """OneTrainer notes its commit in each backup and model, where git tells it (modules/util/git_util.py)."""
    git_path = shutil.which("git")
    if git_path is None:
        return ok("checkout", f"{home}, of unknown commit")  # `git` tells of it
    asked = subprocess.run(
        [git_path, "-C", str(home), "log", "-1", "--format=%h of %cs"], capture_output=True, text=True, timeout=_GIT_S, check=False
    )
    if asked.returncode == 0:
        return ok("checkout", f"{home}, commit {asked.stdout.strip()}")
    said = (asked.stderr.strip() or "it said nothing").splitlines()[0]
    if "dubious ownership" in asked.stderr:
        advice = f"git config --system --add safe.directory {home}, or give the checkout to this user"
    else:
        advice = "clone it with git instead of unpacking an archive, so that it can be updated and models say what made them"
    return warn("checkout", f"{home}; git does not tell its commit: {said}", advice)


def git(_: Case) -> Iterator[Finding]:
    path = shutil.which("git")
    if path is None:
        yield fail("git", "git is not on PATH; OneTrainer runs it at each backup and at the final save", "install git (apt install git)")
    else:
        yield ok("git", path)


def python(case: Case) -> Iterator[Finding]:
    """The trainer's Python, and what torch says for itself."""
    interpreter = _interpreter(case)
    if isinstance(interpreter, Finding):
        yield interpreter
        return
    facts = asyncio.run(probe(interpreter, PROBE_S - 5))
    repair = f"run {case.settings.onetrainer.home}/install.sh again" if case.settings.onetrainer.home else "install onetrainerd[builtin]"
    version = facts.python_version.split(".")
    if facts.python_version == "unknown":
        yield fail(
            "python", facts.error or f"{interpreter} does not answer", "set ONETRAINER_PYTHON (onetrainer.python) to the trainer's Python"
        )
        return
    if tuple(int(part) for part in version[:2]) < _OLDEST:
        yield fail("python", f"{interpreter} is Python {facts.python_version}; the trainer needs 3.10 or newer", repair)
    else:
        yield ok("python", f"{interpreter}, Python {facts.python_version}")
    if facts.torch_version == NOT_INSTALLED:
        yield fail("torch", f"{interpreter} has no torch", repair)
    elif facts.error:
        yield fail("torch", f"torch {facts.torch_version}: {facts.error}", repair)
    else:
        yield _cuda(facts.torch_version, facts.cuda_available, facts.cuda_version)


def _cuda(version: str, is_available: bool, cuda: str | None) -> Finding:
    has_gpu = Path("/dev/nvidiactl").exists()
    if is_available:
        return ok("torch", f"torch {version}, CUDA {cuda} works")
    if has_gpu and cuda is None:
        return fail("torch", f"torch {version} is a build without CUDA, and there is an NVIDIA GPU", "install a CUDA build of torch")
    if has_gpu:
        what = f"torch {version} is built for CUDA {cuda}, and finds no GPU"
        return fail("torch", what, "the driver may be too old for it, or this user may not open /dev/nvidia*; nvidia-smi says more")
    return warn("torch", f"torch {version}; no CUDA here: trainings run on the CPU", "nothing, where that is meant")


def imports(case: Case) -> Iterator[Finding]:
    """OneTrainer's own import, in its place, as a training begins."""
    home, interpreter = case.settings.onetrainer.home, _interpreter(case)
    if home is None or isinstance(interpreter, Finding) or not (home / _NEEDED[0]).is_file():
        return
    environment = {key: value for key, value in case.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    asked = subprocess.run(  # past its time it raises, which `bounded` tells
        [interpreter, "-c", _BEGINNING], cwd=home, env={**environment, "PYTHONDONTWRITEBYTECODE": "1"}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, errors="replace", timeout=IMPORT_S - 5, check=False,
    )  # fmt: skip
    if asked.returncode == 0:
        yield ok("imports", "OneTrainer's modules can be imported")
    else:
        said = (asked.stderr.strip() or f"it ended with {asked.returncode}").splitlines()[-1]
        yield fail("imports", f"OneTrainer cannot be imported: {said[:300]}", f"run {home}/install.sh (or update.sh) again")


def _interpreter(case: Case) -> Path | Finding:
    home = case.settings.onetrainer.home
    if case.settings.chosen_backend != "onetrainer" or home is None:
        return Path(sys.executable)
    try:
        return find_onetrainer(home, case.settings.onetrainer.python).python
    except DaemonError as error:
        if error.code == "no_git":
            return case.settings.onetrainer.python or home / "venv" / "bin" / "python"
        return fail("python", error.message, f"run {home}/install.sh, or set ONETRAINER_PYTHON (onetrainer.python)")
