"""Each check under the conditions that it is there for: real folders, sockets, limits, users, programs."""

import dataclasses
import os
import resource
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.doctor import folders, machine, serving, trainer
from daemon.doctor.bounded import Examination, run_all
from daemon.doctor.findings import Case, Check, Finding, Level, exit_code, fail, ok, warn
from daemon.settings.model import load_settings
from ipc.locks import FileLock
from tests.contract.driver import ROOT

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="doctor-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def case_of(folder: Path, **flags: object) -> Case:
    given = {"state_dir": str(folder), "port": "0", **{key.replace("__", "."): value for key, value in flags.items()}}
    return Case(load_settings(given, {"HOME": str(folder)}, folder), folder, dict(os.environ))


def look(check: Check, case: Case, deadline_s: float = 60.0) -> list[Finding]:
    return run_all({"it": Examination(check, deadline_s)}, case)


def levels(findings: list[Finding]) -> dict[str, Level]:
    return {finding.check: finding.level for finding in findings}


def under(change: Callable[[], object], check: Check) -> Check:
    """*check*, in a process that *change* was made to."""

    def changed(case: Case) -> list[Finding]:
        change()
        return list(check(case))

    return changed


def become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


# Bounds.


def test_a_check_that_hangs_is_a_finding_and_holds_up_no_other(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    left = tmp_path / "left"

    def hang(_: Case) -> list[Finding]:
        subprocess.Popen(["sh", "-c", f"echo $$ > {left}.new; mv {left}.new {left}; exec sleep 1000"])
        while not left.exists():
            time.sleep(0.01)
        (tmp_path / "fifo").read_bytes()  # blocks in the kernel, as a disk that is gone does
        return []

    def die(_: Case) -> list[Finding]:
        os.kill(os.getpid(), 9)
        return []

    def stumble(_: Case) -> list[Finding]:
        raise PermissionError(13, "Permission denied", "/secret")

    checks: dict[str, Check] = {"hangs": hang, "dies": die, "stumbles": stumble, "is well": lambda _: [ok("is well", "yes")]}
    findings = run_all({name: Examination(check, 5.0) for name, check in checks.items()}, case_of(tmp_path))
    assert [(finding.check, finding.level) for finding in findings] == [
        ("hangs", Level.FAIL), ("dies", Level.FAIL), ("stumbles", Level.FAIL), ("is well", Level.OK),
    ]  # fmt: skip
    assert "within 5 s" in findings[0].message
    assert "/secret" in findings[2].message
    assert _wait_ended(int(left.read_text()))  # what it had started went with it


def _wait_ended(pid: int) -> bool:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ended = bool(select.select([pidfd], [], [], 30)[0])
    os.close(pidfd)
    return ended


def test_only_what_fails_makes_the_exit_code_1() -> None:
    assert exit_code([ok("a", ""), warn("b", "", "")]) == 0
    assert exit_code([ok("a", ""), fail("b", "", "")]) == 1


# The trainer.


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "tests" / "standin", tmp_path / "OneTrainer"))


def test_a_whole_checkout_is_fine_and_its_modules_can_be_imported(tmp_path: Path, checkout: Path) -> None:
    case = case_of(tmp_path, onetrainer__home=str(checkout), onetrainer__python=sys.executable)
    [commit] = [one for one in look(trainer.checkout, case) if "git" in one.message]
    assert commit.level is Level.WARN  # a copy, not a clone
    assert levels(look(trainer.imports, case)) == {"imports": Level.OK}
    git = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    (checkout / "training_presets").mkdir()
    assert levels(look(trainer.checkout, case)) == {"checkout": Level.OK}


def test_a_checkout_that_is_not_whole_or_none_at_all_fails_and_says_what_is_missing(tmp_path: Path, checkout: Path) -> None:
    case = case_of(tmp_path, onetrainer__home=str(checkout), onetrainer__python=sys.executable)
    (checkout / "modules" / "util" / "create.py").unlink()
    [finding] = look(trainer.checkout, case)
    assert (finding.level, "modules/util/create.py" in finding.message) == (Level.FAIL, True)
    (checkout / "modules" / "trainer" / "GenericTrainer.py").write_text("import a_module_that_is_gone\n")
    [finding] = look(trainer.imports, case)
    assert (finding.level, "a_module_that_is_gone" in finding.message) == (Level.FAIL, True)
    [finding] = look(trainer.checkout, case_of(tmp_path, onetrainer__home=str(tmp_path / "nowhere")))
    assert (finding.level, "nowhere" in finding.message) == (Level.FAIL, True)


@pytest.mark.parametrize("program", ["missing", "not a python", "hanging", "without torch"])
def test_a_wrong_python_fails_and_names_the_setting(tmp_path: Path, checkout: Path, program: str) -> None:
    python = tmp_path / "python"
    if program == "hanging":
        python.write_text("#!/bin/sh\nexec sleep 20\n")
    elif program == "not a python":
        python.write_text("#!/bin/sh\nexit 0\n")
    elif program == "without torch":
        python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    if program != "missing":
        python.chmod(0o755)
    case = case_of(tmp_path, onetrainer__home=str(checkout), onetrainer__python=str(python))
    findings = look(trainer.python, case, deadline_s=3.0 if program == "hanging" else 60.0)
    assert findings[-1].level is Level.FAIL
    if program == "without torch":
        assert levels(findings) == {"python": Level.OK, "torch": Level.FAIL}
    elif program == "hanging":
        assert "within 3 s" in findings[-1].message
    else:
        assert "ONETRAINER_PYTHON" in findings[-1].advice + findings[-1].message


def test_git_that_is_not_on_path_fails(tmp_path: Path) -> None:
    assert levels(look(trainer.git, case_of(tmp_path))) == {"git": Level.OK}
    hidden = under(lambda: os.environ.update(PATH=str(tmp_path)), trainer.git)
    assert levels(look(hidden, case_of(tmp_path))) == {"git": Level.FAIL}


# Folders.


def test_a_state_directory_of_ones_own_is_fine_and_nothing_stays_in_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert levels(look(folders.permissions, case_of(state))) == {"rights": Level.OK}  # it is made at the first start
    state.mkdir(mode=0o700)
    (state / "token").write_text("a" * 43)
    (state / "token").chmod(0o600)
    assert levels(look(folders.permissions, case_of(state))) == {"rights": Level.OK, "token": Level.OK}
    assert levels(look(folders.state_disk, case_of(state))) == {"state": Level.OK}
    assert [path.name for path in state.iterdir()] == ["token"]


def test_what_others_could_read_or_change_fails_with_the_command_that_mends_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "runs" / "000001-abcd" / "secrets").mkdir(parents=True)
    for path, mode in ((state, 0o777), (state / "runs" / "000001-abcd" / "secrets", 0o755)):
        path.chmod(mode)
    for name in ("token", "tokens.json", "current.secrets.json"):
        (state / name).write_text("a" * 43)
        (state / name).chmod(0o644)
    failed = [one for one in look(folders.permissions, case_of(state)) if one.level is Level.FAIL]
    assert sorted(one.check for one in failed) == ["rights", "secrets", "secrets", "secrets", "token"]
    assert all("chmod" in one.advice or "remove" in one.advice for one in failed)
    state.chmod(0o755)
    assert levels(look(folders.permissions, case_of(state)))["rights"] is Level.WARN
    [open_to_all] = [one for one in look(folders.permissions, case_of(state, auth="none")) if one.check == "token"]
    assert open_to_all.level is Level.WARN


@as_root
def test_a_state_directory_that_is_read_only_fails(open_folder: Path) -> None:
    state = open_folder / "state"
    state.mkdir(mode=0o555)
    os.chown(state, NOBODY, NOBODY)
    [finding] = [one for one in look(under(become_nobody, folders.state_disk), case_of(state)) if one.level is not Level.OK]
    assert (finding.level, "Permission denied" in finding.message) == (Level.FAIL, True)
    [finding] = [one for one in look(under(become_nobody, folders.state_disk), case_of(open_folder / "new")) if one.level is not Level.OK]
    assert (finding.level, "cannot be made" in finding.message) == (Level.FAIL, True)


@as_root
def test_another_user_is_told_whose_the_state_directory_is(open_folder: Path) -> None:
    state = open_folder / "state"
    state.mkdir(mode=0o700)
    [finding] = look(under(become_nobody, folders.permissions), case_of(state))
    assert (finding.level, "root" in finding.message, "sudo -u root" in finding.advice) == (Level.WARN, True, True)
    assert levels(look(under(become_nobody, folders.state_disk), case_of(state))) == {"state": Level.OK}
    [finding] = look(under(become_nobody, folders.permissions), case_of(state / "below"))
    assert finding.level is Level.WARN
    os.chown(state, NOBODY, NOBODY)
    [finding] = [one for one in look(folders.permissions, case_of(state)) if one.check == "rights"]
    assert "belongs to" in finding.message


def test_a_disk_with_less_room_than_the_marks_ask_for_fails_or_warns(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    for key, level in (("hold_bytes", Level.FAIL), ("low_bytes", Level.WARN)):
        case = case_of(tmp_path, **{f"disk__{key}": str(free * 4)})
        assert levels(look(folders.state_disk, case))["state"] is level
        assert levels(look(folders.root_disks, case))["root"] is level
    case = case_of(tmp_path)
    gone = dataclasses.replace(
        case, settings=case.settings.model_copy(update={"paths": type(case.settings.paths)(roots=(Path("/nowhere"),))})
    )
    assert [(one.level, "/nowhere" in one.message) for one in look(folders.root_disks, gone)] == [(Level.WARN, True)]


# The machine.


@pytest.mark.parametrize(
    ("which", "limit", "check", "level"),
    [
        (resource.RLIMIT_NOFILE, 256, "files", Level.WARN), (resource.RLIMIT_FSIZE, 1 << 30, "limits", Level.FAIL),
        (resource.RLIMIT_AS, 8 << 30, "limits", Level.FAIL), (resource.RLIMIT_MEMLOCK, 65536, "memlock", Level.WARN),
        (resource.RLIMIT_CORE, 0, "core", Level.OK),
    ],
)  # fmt: skip
def test_a_limit_that_trainings_would_run_into_is_told(tmp_path: Path, which: int, limit: int, check: str, level: Level) -> None:
    limited = under(lambda: resource.setrlimit(which, (limit, limit)), machine.limits)
    findings = [one for one in look(limited, case_of(tmp_path)) if one.check == check]
    assert [one.level for one in findings] == [level]
    assert bool(findings[0].advice) == (level is not Level.OK)


def test_the_machine_is_looked_at_whatever_it_has(tmp_path: Path) -> None:
    found = [one for check in (machine.gpus, machine.memory, machine.limits, machine.clock) for one in look(check, case_of(tmp_path))]
    assert {"gpu", "memory", "files", "core", "memlock", "inotify", "shm", "clock"} <= {one.check for one in found}
    assert not [one.message for one in found if "cannot be looked at" in one.message]


def test_a_clock_that_went_back_is_told(tmp_path: Path) -> None:
    assert levels(look(machine.clock, case_of(tmp_path))) == {"clock": Level.OK}
    (tmp_path / "endpoint.json").write_text("{}")
    os.utime(tmp_path / "endpoint.json", (time.time() + 86400, time.time() + 86400))
    assert levels(look(machine.clock, case_of(tmp_path))) == {"clock": Level.FAIL}


# Serving.


def test_a_port_that_another_program_has_fails_and_a_free_one_is_fine(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        busy = str(other.getsockname()[1])
        [finding] = look(serving.port, case_of(tmp_path, port=busy))
        assert (finding.level, "another program" in finding.advice) == (Level.FAIL, True)
    assert levels(look(serving.port, case_of(tmp_path, port=busy))) == {"port": Level.OK}
    [finding] = look(serving.port, case_of(tmp_path, host="192.0.2.1"))
    assert (finding.level, "--host" in finding.advice) == (Level.FAIL, True)


def test_a_daemon_that_holds_the_state_directory_and_does_not_answer_fails(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "daemon.lock")
    lock.acquire()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        (tmp_path / "endpoint.json").write_text(f'{{"url": "http://127.0.0.1:{silent.getsockname()[1]}"}}')
        [finding] = look(serving.port, case_of(tmp_path))
    lock.release()
    assert (finding.level, "does not answer" in finding.message) == (Level.FAIL, True)


def test_a_certificate_that_cannot_be_used_fails(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("no certificate")
    assert look(serving.certificate, case_of(tmp_path)) == []
    case = case_of(tmp_path, tls__cert=str(tmp_path / "cert.pem"), tls__key=str(tmp_path / "key.pem"))
    assert levels(look(serving.certificate, case)) == {"tls": Level.FAIL}


@pytest.mark.parametrize(
    ("shown", "level", "word"),
    [
        ({"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}, Level.OK, ""),
        ({"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "disabled"}, Level.WARN, "enable"),
        ({"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "yes"}, Level.WARN, "reload"),
        ({"LoadState": "loaded", "ActiveState": "failed", "Result": "exit-code"}, Level.FAIL, "journalctl"),
        ({"LoadState": "bad-setting"}, Level.FAIL, "status"),
    ],
)
def test_what_systemctl_shows_is_judged(shown: dict[str, str], level: Level, word: str) -> None:
    finding = serving.judged("systemctl ", shown)
    assert (finding.level, word in finding.advice) == (level, True)


def test_without_systemd_there_is_no_complaint(tmp_path: Path) -> None:
    hidden = under(lambda: os.environ.update(PATH=str(tmp_path)), serving.unit)
    assert levels(look(hidden, case_of(tmp_path))) == {"unit": Level.OK}
