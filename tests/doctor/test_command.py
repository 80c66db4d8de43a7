"""`onetrainerd doctor` as an operator meets it: lines, JSON, exit code; with a daemon, and without."""

import json
import os
import subprocess
import sys
from pathlib import Path

from daemon.doctor.examining import CHECKS
from tests.e2e.conftest import StartDaemon, folder, start_daemon

__all__ = ["folder", "start_daemon"]


def doctor(folder: Path, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "daemon.cli.main", "doctor", "--state-dir", str(folder / "state"), *flags]
    return subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=100, check=False)


async def test_beside_a_daemon_each_check_has_its_line_and_nothing_fails(folder: Path, start_daemon: StartDaemon) -> None:
    await start_daemon()
    ended = doctor(folder, "--json")
    said = json.loads(ended.stdout)
    assert (ended.returncode, said["ok"], ended.stderr) == (0, True, "")
    found = {one["check"]: one for one in said["findings"]}
    assert set(CHECKS) - {"limits", "imports", "tls"} <= set(found)
    assert "our daemon answers" in found["port"]["message"]
    assert all(one["advice"] for one in said["findings"] if one["level"] != "ok")


def test_what_is_wrong_is_told_a_line_each_with_what_to_do_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('prot = 8001\n[stall]\nafter_s = "soon"\n')
    ended = doctor(tmp_path, "--config", str(tmp_path / "settings.toml"), ONETRAINER_HOME=str(tmp_path / "nowhere"))
    lines = ended.stdout.splitlines()
    assert (ended.returncode, ended.stderr) == (1, "")
    failed = [lines[number : number + 2] for number, line in enumerate(lines) if line.startswith("fail")]
    assert all(advice.lstrip().startswith("→") for _, advice in failed)
    told = "\n".join(line for line, _ in failed)
    assert "did you mean port" in told
    assert "stall.after_s" in told
    assert f"{tmp_path}/nowhere" in told
    assert lines[-1].endswith(f"{len(failed)} failed")
