"""`onetrainerd install` and `uninstall` where nothing is installed: what they would do, what they refuse, what they write."""

import os
import tomllib
from pathlib import Path

import pytest

from daemon.cli.installing.rendering import memory_limits, word
from daemon.cli.installing.settings_file import with_keys
from daemon.data import data_folder
from daemon.errors import ConflictError, InvalidError
from tests.cli.test_contract import run


def test_a_dry_run_says_each_step_and_does_none(tmp_path: Path) -> None:
    told = run(tmp_path, "install", "--dry-run", "--port", "9000", "--memory-max", "48G")
    assert told.returncode == 0, told.stderr
    for line in (
        "would write  /etc/onetrainerd/onetrainerd.toml", "would write  /etc/systemd/system/onetrainer-run@.service",
        "would write  /etc/systemd/system/onetrainer-run@.service.d/memory.conf", "would run    systemctl daemon-reload",
    ):  # fmt: skip
        assert line in told.stdout
    assert "http://127.0.0.1:9000" in told.stdout
    assert "low-port.conf" not in told.stdout
    assert "onetrainerd.service.d/low-port.conf" in run(tmp_path, "install", "--dry-run", "--port", "80").stdout
    user = run(tmp_path, "install", "--user", "--dry-run", HOME=str(tmp_path), XDG_RUNTIME_DIR=str(tmp_path / "run"), XDG_CONFIG_HOME="")
    assert f"would write  {tmp_path}/.config/systemd/user/onetrainerd.service" in user.stdout
    assert "systemctl --user daemon-reload" in user.stdout
    assert list(tmp_path.iterdir()) == []
    assert run(tmp_path, "uninstall", "--dry-run").returncode == 0


@pytest.mark.skipif(Path("/run/systemd/system").exists() and os.geteuid() == 0, reason="here it would really be installed")
@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_without_systemd_or_without_root_it_says_so_in_one_line(tmp_path: Path, command: str) -> None:
    told = run(tmp_path, command)
    assert (told.returncode, told.stderr.count("\n")) == (1, 1)
    assert "systemd does not run this machine" in told.stderr or "sudo onetrainerd install" in told.stderr


@pytest.mark.parametrize(("flags", "told"), [
    (["--user"], "XDG_RUNTIME_DIR"),
    (["--service-user", "nobody-of-that-name"], "nobody-of-that-name"),
    (["--onetrainer", "nowhere"], "there is no folder"),
    (["--port", "99999"], "/etc/onetrainerd/onetrainerd.toml: port = 99999"),
    (["--memory-max", "much"], "--memory-max"),
    (["--launcher", "docker"], "--launcher"),
    (["--state-dir", "with space"], "state_dir"),
])  # fmt: skip
def test_a_wish_that_cannot_be_is_told_before_anything_is_written(tmp_path: Path, flags: list[str], told: str) -> None:
    result = run(tmp_path, "install", "--dry-run", *flags, XDG_RUNTIME_DIR="")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert told in result.stderr


def test_keys_are_set_in_place_and_what_the_operator_wrote_stays() -> None:
    shipped = (data_folder("configs") / "onetrainerd.toml").read_text()
    once = with_keys(shipped, {"port": 9000, "onetrainer.home": '/opt/a "quoted" folder', "state_dir": "/srv/ünï"})
    read = tomllib.loads(once)
    assert (read["port"], read["onetrainer"]["home"], read["state_dir"]) == (9000, '/opt/a "quoted" folder', "/srv/ünï")
    assert len(once.splitlines()) == len(shipped.splitlines())
    assert with_keys(once, {"port": 9000}) == once
    mine = "# mine\nport = 1 # why\n\n[paths]\nroots = [\n  '/a',\n]\n"
    changed = with_keys(mine, {"host": "::1", "onetrainer.home": "/o"})
    assert tomllib.loads(changed) == {"port": 1, "host": "::1", "paths": {"roots": ["/a"]}, "onetrainer": {"home": "/o"}}
    assert changed.startswith("# mine\nport = 1 # why\n")
    with pytest.raises((ConflictError, tomllib.TOMLDecodeError)):
        with_keys("onetrainer.home = '/x'\n", {"onetrainer.home": "/o"})


def test_words_of_a_unit_are_quoted_and_specifiers_stand_for_themselves() -> None:
    assert word("/plain/path", before="-") == "-/plain/path"
    assert word('/a b/"c"/100%', before="-") == '"-/a b/\\"c\\"/100%%"'
    assert word("/a$b", in_command=True) == "/a$$b"


def test_limits_of_memory_are_amounts() -> None:
    assert memory_limits("75%", "48G").endswith("[Service]\nMemoryHigh=75%\nMemoryMax=48G\n")
    assert memory_limits(None, "infinity").endswith("[Service]\nMemoryMax=infinity\n")
    for wrong in ("", "48 G", "-1", "lots", "1G\nExecStartPre=/bin/sh"):
        with pytest.raises(InvalidError):
            memory_limits(None, wrong)
