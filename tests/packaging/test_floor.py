"""What runs under a foreign Python keeps to the standard library, and to Python 3.10."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "ipc": {"ipc"},
    "trainer_runner/runner": {"ipc", "trainer_runner"},
    "trainer_runner/trainer": {"ipc", "trainer_runner"},
    "trainer_runner/backends/builtin": {"ipc", "trainer_runner", "torch", "numpy", "PIL", "safetensors", "tensorboard"},
    "trainer_runner/backends/onetrainer": {"ipc", "trainer_runner", "modules"},
}


def imports(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.lineno


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_only_the_standard_library_and_what_is_listed_is_imported(folder: str) -> None:
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    foreign = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in files
        for name, line in imports(path)
        if name.split(".")[0] not in sys.stdlib_module_names | ALLOWED[folder]
    ]
    assert foreign == []


def test_the_daemon_never_names_the_runner_or_torch() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in (ROOT / "daemon").rglob("*.py")
        for name, line in imports(path)
        if name.split(".")[0] in ("trainer_runner", "torch")
    ]
    assert found == []


def python_3_10() -> str | None:
    """A 3.10 interpreter, wherever this machine keeps one."""
    candidates = [os.environ.get("PYTHON_3_10"), shutil.which("python3.10")]
    candidates += [str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.10.*/bin/python3.10"))]
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", "pass"], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def test_runner_and_trainer_start_under_python_3_10(archive: Path) -> None:
    python = python_3_10()
    if python is None:
        pytest.skip("no Python 3.10 on this machine; `make lint` checks the floor with vermin, ruff and mypy")
    for role in ("runner", "trainer"):
        result = subprocess.run([python, "-I", "-S", str(archive), role, "--nonsense"], capture_output=True, text=True, check=False)
        assert "Traceback" not in result.stderr or "nonsense" in result.stderr
        assert result.returncode != 0
    code = "import ipc.journal, ipc.exit_record, trainer_runner.runner.supervise, trainer_runner.trainer.main, trainer_runner.backends"
    subprocess.run([python, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(archive)!r}); {code}"], check=True)
