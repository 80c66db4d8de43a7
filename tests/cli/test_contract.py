"""The command line's contract: what others script against."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "daemon.cli.main"]
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith(("ONETRAINER", "STATE_DIRECTORY"))}


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=ENVIRONMENT | environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, "serve", "--state-dir", "state", "--port", "0"],
        cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield process
    process.terminate()
    process.communicate(timeout=30)


def listening(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    line = server.stdout.readline()
    found = re.fullmatch(r"onetrainerd \S+ listens on (http://127\.0\.0\.1:\d+) with the builtin trainer\n", line)
    assert found, line
    return found[1]


def test_serve_prints_one_line_when_it_listens_and_exits_with_0_on_sigterm(server: subprocess.Popen[str]) -> None:
    listening(server)
    server.send_signal(signal.SIGTERM)
    out, _ = server.communicate(timeout=30)
    assert (server.returncode, out) == (0, "")


def test_serve_may_open_as_many_files_as_the_hard_limit_lets_it(tmp_path: Path) -> None:
    command = ["sh", "-c", 'ulimit -Sn 256 && exec "$@"', "sh", *COMMAND, "serve", "--state-dir", "state", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as server:
        listening(server)
        soft, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        server.terminate()
    assert soft == min(hard, 65536)


def test_token_prints_the_token_and_nothing_else(server: subprocess.Popen[str], tmp_path: Path) -> None:
    listening(server)
    result = run(tmp_path, "token", "--state-dir", "state")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (tmp_path / "state" / "token").read_text()
    assert (tmp_path / "state" / "token").stat().st_mode & 0o777 == 0o600


def test_tokens_are_made_listed_revoked_and_rotated_under_a_running_daemon(server: subprocess.Popen[str], tmp_path: Path) -> None:
    url = listening(server)
    made = run(tmp_path, "token", "create", "--role", "viewer", "--name", "phone", "--expires", "30d", "--state-dir", "state")
    assert (made.returncode, made.stderr) == (0, "this is the viewer token 'phone', for 30d; it is shown only now\n")
    token = made.stdout.removesuffix("\n")
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert answered(url, token) == 200
    listed = run(tmp_path, "token", "--state-dir", "state", "list")
    assert re.fullmatch(r"first +admin +made \S+ \S+\nphone +viewer +made \S+ \S+ +until \S+ \S+\n", listed.stdout), listed.stdout
    tokens = json.loads(run(tmp_path, "token", "list", "--json", "--state-dir", "state").stdout)["tokens"]
    assert [(one["name"], one["role"], one["expired"]) for one in tokens] == [("first", "admin", False), ("phone", "viewer", False)]
    assert tokens[1]["expires"] - tokens[1]["created"] == 30 * 86400
    assert token not in listed.stdout + str(tokens)
    revoked = run(tmp_path, "token", "revoke", "phone", "--state-dir", "state")
    assert (revoked.returncode, revoked.stdout, revoked.stderr) == (0, "", "token 'phone' is revoked\n")
    assert answered(url, token) == 401
    first = run(tmp_path, "token", "--state-dir", "state").stdout
    new = run(tmp_path, "token", "rotate", "--state-dir", "state").stdout
    assert new == run(tmp_path, "token", "--state-dir", "state").stdout != first
    assert (answered(url, first.strip()), answered(url, new.strip())) == (401, 200)
    assert run(tmp_path, "status", "--state-dir", "state").returncode == 0


def answered(url: str, token: str) -> int:
    request = urllib.request.Request(f"{url}/runs", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["create", "--name", "phone", "--role", "root"], "should be 'viewer' or 'admin'"),
        (["create", "--name", "a b", "--role", "viewer"], "no name for a token"),
        (["create", "--name", "first", "--role", "viewer"], "there is a token 'first' already"),
        (["create", "--name", "phone", "--role", "viewer", "--expires", "soon"], "should be like 12h"),
        (["create", "--name", "phone", "--role", "viewer", "--expires", "0d"], "should be like 12h"),
        (["revoke", "phone"], "there is no token 'phone'"),
        (["revoke", "first"], "token rotate"),
        (["rotate"], "there is no token file"),
        (["create", "--name", "phone", "--role", "viewer", "--state-dir", "none"], "there is no state directory"),
    ],
)
def test_what_a_token_command_cannot_do_is_said_in_one_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    (tmp_path / "state").mkdir()
    result = run(tmp_path, "token", "--state-dir", "state", *arguments)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1), result.stderr
    assert told in result.stderr


def test_a_token_that_nobody_could_read_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    command = [*COMMAND, "token", "create", "--name", "phone", "--role", "viewer", "--state-dir", "state"]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 1
    assert json.loads((tmp_path / "state" / "tokens.json").read_text())["tokens"] == []


def test_status_tells_what_the_daemon_does_for_people_and_for_programs(server: subprocess.Popen[str], tmp_path: Path) -> None:
    url = listening(server)
    assert run(tmp_path, "status", "--state-dir", "state").stdout == f"{url}: idle\n"
    told = json.loads(run(tmp_path, "status", "--state-dir", "state", "--json").stdout)
    assert (told["daemon"], told["training"]["status"], told["runs"]) == (url, "idle", [])


def test_status_without_a_daemon_exits_with_3(tmp_path: Path) -> None:
    result = run(tmp_path, "status", "--state-dir", "state")
    assert result.returncode == 3
    assert "onetrainerd serve" in result.stdout


def test_a_state_directory_in_use_is_refused_in_one_line(server: subprocess.Popen[str], tmp_path: Path) -> None:
    listening(server)
    result = run(tmp_path, "serve", "--state-dir", "state", "--port", "0")
    assert result.returncode == 1
    assert re.fullmatch(r"onetrainerd: the state directory \S+/state is in use by another onetrainerd; .*--state-dir\n", result.stderr)


def test_a_port_in_use_is_refused_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run(tmp_path, "serve", "--state-dir", "state", "--port", port)
    assert result.returncode == 1
    assert result.stderr == (
        f"onetrainerd: cannot listen on 127.0.0.1 port {port}: Address already in use; choose another with --host or --port\n"
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["--port", "eighty"], {}, "port = 'eighty' is not allowed"),
        (["--auth", "never"], {}, "auth = 'never' is not allowed: should be 'token' or 'none'"),
        (["--host", "0.0.0.0", "--auth", "none"], {}, "anyone who reaches this machine"),
        (["--state-dir", "/proc/nowhere"], {}, "/proc/nowhere cannot be used"),
        (["--config", "none.toml"], {}, "none.toml"),
        ([], {"ONETRAINERD_PROT": "1"}, "ONETRAINERD_PROT"),
        (["--backend", "onetrainer"], {}, "set ONETRAINER_HOME"),
        (["--onetrainer", "nowhere"], {}, "there is no folder"),
        (["--onetrainer", "."], {}, "is not a checkout of OneTrainer"),
    ],
)
def test_what_it_cannot_start_with_is_said_in_one_line(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], told: str
) -> None:
    result = run(tmp_path, "serve", *(["--state-dir", "state"] if "--state-dir" not in arguments else []), *arguments, **environment)
    assert result.returncode == 1
    assert told in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("onetrainerd: ")


def test_a_checkout_without_its_python_or_without_git_is_said_in_one_line(tmp_path: Path) -> None:
    checkout = tmp_path / "OneTrainer"
    (checkout / "modules" / "trainer").mkdir(parents=True)
    (checkout / "modules" / "trainer" / "GenericTrainer.py").touch()
    result = run(tmp_path, "serve", "--state-dir", "state", ONETRAINER_HOME=str(checkout))
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "install.sh" in result.stderr
    environment = {"ONETRAINER_HOME": str(checkout), "ONETRAINER_PYTHON": sys.executable, "PATH": "/nowhere"}
    result = run(tmp_path, "serve", "--state-dir", "state", **environment)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "git is not on PATH" in result.stderr


def test_an_unknown_key_in_the_settings_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("[stop]\ngrace = 3\n")
    result = run(tmp_path, "serve", "--config", "settings.toml")
    assert result.returncode == 1
    assert "stop.grace_s" in result.stderr
