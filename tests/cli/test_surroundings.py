"""Odd surroundings of the command line: each is told in one line, without a traceback, and nothing hangs."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_contract import COMMAND, ENVIRONMENT, listening, run

SERVE = ["serve", "--state-dir", "state", "--port", "0"]


def shell(folder: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run *script* with the command and *arguments* as "$@"."""
    return subprocess.run(
        ["sh", "-c", script, "sh", *COMMAND, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def said_in_one_line(result: subprocess.CompletedProcess[str], told: str) -> None:
    assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
    assert result.stderr.startswith("onetrainerd: ")
    assert told in result.stderr


@pytest.mark.parametrize("command", ["serve", "token", "status", "demo"])
def test_a_working_directory_that_is_gone(tmp_path: Path, command: str) -> None:
    (tmp_path / "gone").mkdir()
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    script = f'cd gone && rmdir ../gone && PYTHONPATH={environment["PYTHONPATH"]} exec "$@"'
    said_in_one_line(shell(tmp_path, script, command), "working directory")


@pytest.mark.parametrize(("redirection", "told"), [(">/dev/full", "No space left on device"), (">&-", "is closed")])
def test_a_token_that_cannot_be_printed(tmp_path: Path, redirection: str, told: str) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "token").touch(0o600)
    (tmp_path / "state" / "token").write_text("t" * 43)
    said_in_one_line(shell(tmp_path, f'exec "$@" {redirection}', "token", "--state-dir", "state"), told)


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_serve_serves_though_nobody_can_read_its_line(tmp_path: Path, redirection: str) -> None:
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, *SERVE]
    with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        assert "listens on http://127.0.0.1" in next(line for line in server.stderr if "WARNING" in line)
        server.terminate()
        assert "Traceback" not in server.stderr.read()
    assert server.returncode == 0


def test_a_settings_file_that_is_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "settings.toml")
    said_in_one_line(run(tmp_path, "serve", "--config", "settings.toml"), "not a regular file")


@pytest.mark.parametrize("name", ["runs", "runtime"])
def test_a_file_where_the_state_directory_has_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / name).touch()
    said_in_one_line(run(tmp_path, *SERVE), f"state/{name}: ")


def test_an_endpoint_that_is_a_folder_costs_the_command_line_its_way_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "state" / "endpoint.json").mkdir(parents=True)
    with subprocess.Popen([*COMMAND, *SERVE], cwd=tmp_path, env=ENVIRONMENT, stdout=-1, stderr=-1, text=True) as server:
        listening(server)
        told = run(tmp_path, "status", "--state-dir", "state")
        server.terminate()
        assert server.stderr is not None
        assert "cannot find this daemon by itself" in server.stderr.readline()
    assert (told.returncode, told.stdout.count("\n")) == (3, 1)
    assert "endpoint.json does not say where the daemon is" in told.stdout


def test_a_host_that_nobody_knows(tmp_path: Path) -> None:
    result = run(tmp_path, *SERVE, "--host", "nowhere.invalid")
    said_in_one_line(result, "cannot listen on nowhere.invalid port 0: ")
    assert "Unknown error" not in result.stderr


def test_a_demo_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in ("file", "file/below"):
        said_in_one_line(run(tmp_path, "demo", "--dir", folder), "choose another folder")


@pytest.mark.torch
def test_a_demo_of_a_preset_whose_name_is_a_path(tmp_path: Path) -> None:
    said_in_one_line(run(tmp_path, "demo", "--dir", "demo", "--preset", "../x"), "no name for a preset")


def test_a_server_under_nohup_ignores_a_hang_up(tmp_path: Path) -> None:
    with subprocess.Popen(["nohup", *COMMAND, *SERVE], cwd=tmp_path, env=ENVIRONMENT, stdout=-1, stderr=-1, text=True) as server:
        try:
            listening(server)
            server.send_signal(signal.SIGHUP)
            assert "idle" in run(tmp_path, "status", "--state-dir", "state").stdout
            server.terminate()
            _, told = server.communicate(timeout=60)
        finally:
            server.kill()
    assert "the next daemon adopts them" in told
    assert "reloaded" not in told
    assert server.returncode == 0
