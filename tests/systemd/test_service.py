"""Installed, and left alone, under a real systemd, with either launcher. The tests of this module tell one story and are run in order."""

import re
import signal

import pytest

from tests.e2e.conftest import LONG
from tests.systemd.conftest import WORK, Installed
from tests.systemd.lab import PORT, STATE, VENV, kill, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.timeout(300)]

PEER = """
import json, socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect("/run/onetrainerd/run.sock")
    s.sendall(json.dumps({"v": 1, "attempt": sys.argv[1], "archive": "/x"}).encode() + b"\\n")
    print(s.makefile().readline())
"""


def test_install_says_what_it_has_done_and_the_daemon_listens(installed: Installed) -> None:
    lab = installed.lab
    for line in ("wrote      /etc/onetrainerd/onetrainerd.toml", "wrote      /etc/systemd/system/onetrainerd.service", "systemctl restart"):
        assert line in installed.said
    assert lab.call("GET", "/health")["status"] == "healthy"
    assert (lab.show("onetrainerd.service", "ActiveState"), lab.show("onetrainerd.service", "User")) == ("active", "onetrainerd")
    wait_until(lambda: lab.show("onetrainerd.service", "StatusText") == f"http://127.0.0.1:{PORT}: no training", "the status")
    lab.run("chmod", "700", str(VENV))
    refused = lab.onetrainerd("install", "--no-start", check=False)
    lab.run("chmod", "755", str(VENV))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "user onetrainerd cannot run" in refused.stderr
    again = lab.onetrainerd("install", "--no-start").stdout
    assert "wrote" not in again
    assert "replaced" not in again
    assert lab.path("/etc/systemd/system/onetrainerd.service.d/direct.conf").exists() == (installed.launcher == "direct")


def test_the_units_are_flawless_and_expose_little(installed: Installed) -> None:
    lab = installed.lab
    units = [f"/etc/systemd/system/{name}" for name in ("onetrainerd.service", "onetrainer-run.socket", "onetrainer-run@.service")]
    verified = lab.run("systemd-analyze", "verify", *units)
    assert (verified.stdout, verified.stderr) == ("", "")
    for unit, most in ((units[0], 2.0), (units[2], 3.0)) if installed.launcher == "systemd" else ():
        told = lab.run("systemd-analyze", "security", "--offline=true", "--no-pager", unit).stdout
        found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
        assert found, told
        assert float(found[1]) <= most, told


def test_a_reload_is_told_to_systemd(installed: Installed) -> None:
    lab = installed.lab
    pid = lab.daemon_pid()
    settings = lab.path("/etc/onetrainerd/onetrainerd.toml")
    settings.write_text(settings.read_text().replace("max_concurrent = 1", "max_concurrent = 2"))
    lab.run("systemctl", "reload", "onetrainerd.service")
    wait_until(lambda: "in force now: runs.max_concurrent" in lab.journal(), "the reload", lab.journal)
    assert (lab.show("onetrainerd.service", "ActiveState"), lab.daemon_pid()) == ("active", pid)


def test_a_training_is_held_where_the_launcher_says(installed: Installed, training: str) -> None:
    lab = installed.lab
    runner, trainer = (lab.cgroup_of(lab.pid_of(training, who)) for who in ("runner", "trainer"))
    assert runner == trainer
    if installed.launcher == "direct":
        assert runner == lab.cgroup_of(lab.daemon_pid())
        return
    unit = runner.rpartition("/")[2]
    assert re.fullmatch(r"onetrainer-run@\S+\.service", unit)
    assert lab.show(unit, "MainPID") == str(lab.pid_of(training, "runner"))
    assert lab.show(unit, "StatusText") == f"run {training}, attempt 1"
    devices = lab.show(unit, "DeviceAllow")
    assert all(f"char-{driver} rw" in devices for driver in ("nvidia*", "drm", "kfd"))
    assert (lab.show(unit, "PrivateDevices"), lab.show(unit, "OOMPolicy"), lab.show(unit, "KillMode")) == ("no", "continue", "mixed")


def test_a_training_sees_neither_tokens_nor_the_audit_log(installed: Installed, training: str) -> None:
    if installed.launcher == "direct":
        pytest.skip("with the direct launcher a training sees what the daemon sees")
    lab = installed.lab
    runner = str(lab.pid_of(training, "runner"))
    for name in ("token", "audit.jsonl"):
        assert lab.path(STATE / name).stat().st_size > 0
        assert lab.run("nsenter", "--target", runner, "--mount", "--root", "cat", str(STATE / name)).stdout == ""
    lab.onetrainerd("token", "--state-dir", str(STATE), "rotate")  # a file that is covered elsewhere can be replaced all the same
    assert lab.call("GET", "/runs")["count"] == 1


def test_a_rule_for_devices_by_the_name_of_their_driver_lets_in_these_alone(installed: Installed) -> None:
    lab = installed.lab
    if "203 cpu/cpuid\n" not in lab.path("/proc/devices").read_text():
        pytest.skip("this kernel has no devices of cpu/cpuid to stand in for a GPU's")
    lab.run("mknod", "-m", "666", "/dev/nvidia0", "c", "203", "0")
    read = ["systemd-run", "--wait", "--pipe", "--quiet", "--property=DevicePolicy=closed", "--property=User=nobody"]
    for rule, is_open in (("char-nvidia* rw", False), ("char-cpu* rw", True)):
        done = lab.run(*read, f"--property=DeviceAllow={rule}", "head", "-c", "16", "/dev/nvidia0", check=False)
        assert (done.returncode == 0) == is_open, done.stderr


def test_the_run_socket_is_closed_to_others_and_to_paths_elsewhere(installed: Installed) -> None:
    if installed.launcher == "direct":
        pytest.skip("the direct launcher has no socket")
    lab = installed.lab
    python = ["python3", "-c", PEER]
    stranger = lab.run("setpriv", "--reuid", "65534", "--clear-groups", *python, "/etc", check=False)
    assert "PermissionError" in stranger.stderr
    assert "user 0 may not start a run" in lab.run(*python, "/etc").stdout
    ours = ["setpriv", "--reuid", "onetrainerd", "--regid", "onetrainerd", "--clear-groups"]
    assert "not the folder of an attempt" in lab.run(*ours, *python, "/etc").stdout


def test_a_restart_of_the_daemon_leaves_the_training_alone_and_no_event_is_lost(installed: Installed, training: str) -> None:
    lab = installed.lab
    before, trainer = lab.daemon_pid(), lab.pid_of(training, "trainer")
    first = lab.call("GET", f"/runs/{training}/events?limit=20")
    lab.run("systemctl", "restart", "onetrainerd.service")
    assert lab.daemon_pid() != before
    view = lab.call("GET", f"/runs/{training}")
    reached = view["progress"]["global_step"]
    lab.wait_step(training, reached + 3)
    assert lab.pid_of(training, "trainer") == trainer
    events, page = first["events"], first
    while page["count"]:
        page = lab.call("GET", f"/runs/{training}/events?limit=5000&since={page['next']}")
        events += page["events"]
    by_runner = [event["seq"] for event in events if "after" not in event]
    assert by_runner == list(range(1, len(by_runner) + 1))
    assert sum(event["type"] == "run.adopted" for event in events) == 1
    steps = [event["global_step"] for event in events if event["type"] == "step"]
    assert steps == list(range(1, len(steps) + 1))


def test_an_upgrade_and_an_installation_again_change_nothing_for_the_training(installed: Installed, training: str) -> None:
    lab = installed.lab
    trainer, step = lab.pid_of(training, "trainer"), lab.call("GET", f"/runs/{training}")["progress"]["global_step"]
    lab.upgrade("99.0.0")
    if installed.launcher == "systemd":
        lab.run("systemctl", "restart", "onetrainer-run.socket")
    lab.onetrainerd("install", "--memory-max", "64G")
    assert "MemoryMax=64G" in lab.path("/etc/systemd/system/onetrainer-run@.service.d/memory.conf").read_text()
    wait_until(lambda: "onetrainerd 99.0.0 listens" in lab.journal(), "the new version", lab.journal)
    lab.wait_step(training, step + 2)
    assert lab.pid_of(training, "trainer") == trainer
    versions = {path.name.split("-")[1] for path in lab.path(STATE / "runtime").iterdir()}
    assert len(versions) == 2
    assert "99.0.0" in versions


def test_a_daemon_that_hangs_is_restarted_by_the_watchdog_and_the_training_goes_on(installed: Installed, training: str) -> None:
    lab = installed.lab
    before, trainer = lab.daemon_pid(), lab.pid_of(training, "trainer")
    step = lab.call("GET", f"/runs/{training}")["progress"]["global_step"]
    kill(before, signal.SIGSTOP, lab)
    wait_until(lambda: lab.daemon_pid() not in {0, before}, "another daemon", lab.journal)
    wait_until(lambda: lab.show("onetrainerd.service", "ActiveState") == "active", "it to listen", lab.journal)
    assert "onetrainerd.service: Watchdog timeout" in lab.journal()
    lab.wait_step(training, step + 2)
    assert lab.pid_of(training, "trainer") == trainer


def test_a_trainer_whose_runner_is_killed_backs_up_and_ends_by_itself(installed: Installed, training: str) -> None:
    lab = installed.lab
    run_id = installed.start("orphan", **LONG)
    lab.wait_step(run_id, 1)
    kill(lab.pid_of(run_id, "runner"), signal.SIGKILL, lab)
    wait_until(lambda: lab.call("GET", f"/runs/{run_id}")["last_backup"], "its backup", lab.journal)
    view = lab.wait_state(run_id, "lost")
    assert "backed up and saved its model" in view["error"]
    assert lab.path(view["last_backup"]).is_dir()
    assert lab.call("GET", f"/runs/{training}")["state"] == "training"


def test_a_trainer_that_runs_out_of_memory_is_known_by_its_cgroup_and_the_daemon_lives_on(installed: Installed, training: str) -> None:
    lab = installed.lab
    daemon = lab.daemon_pid()
    with lab.little_memory(installed.launcher):
        run_id = installed.start("greedy", **LONG)
        view = lab.wait_state(run_id, "failed")
    assert view["cause"] == "host_oom", view
    assert (view["exit"]["signal"], view["exit"]["evidence"]["oom_kills"]) == ("SIGKILL", 1)
    assert lab.daemon_pid() == daemon
    assert lab.call("GET", f"/runs/{training}")["state"] == "training"


def test_uninstalling_is_refused_while_a_training_is_at_work(installed: Installed, training: str) -> None:
    refused = installed.lab.onetrainerd("uninstall", "--purge", check=False)
    assert (refused.returncode, training in refused.stderr, refused.stderr.count("\n")) == (1, True, 1)
    assert installed.lab.call("GET", f"/runs/{training}")["state"] == "training"


def test_uninstalling_leaves_nothing_and_an_installation_begins_anew(installed: Installed, training: str) -> None:
    lab = installed.lab
    told = lab.onetrainerd("uninstall", "--stop-trainings", "--purge").stdout
    assert "removed    /etc/systemd/system/onetrainerd.service" in told
    left = lab.run("find", "/etc", "/run", "/var", "/usr/lib/systemd", "-xdev", "-name", "*onetrainer*").stdout
    assert left == ""
    assert lab.run("getent", "passwd", "onetrainerd", check=False).returncode == 2
    listed = ["systemctl", "list-units", "--all", "--no-legend", "--plain"]
    wait_until(lambda: "onetrainer" not in lab.run(*listed).stdout, "systemd to forget the last unit", lambda: lab.run(*listed).stdout)
    assert "onetrainer" not in lab.run("systemctl", "list-unit-files", "--no-legend").stdout
    assert training not in lab.run("ps", "axww").stdout
    lab.onetrainerd("install", "--launcher", installed.launcher)
    assert lab.call("GET", "/runs")["runs"] == []


def test_when_the_machine_goes_down_trainings_back_up_and_end_and_the_queue_waits(installed: Installed) -> None:
    lab = installed.lab
    lab.put_images(WORK)
    run_id = installed.start("last", **LONG, backup_before_save=False)
    lab.wait_step(run_id, 1)
    waiting = installed.start("waiting", **LONG)
    lab.run("systemctl", "--no-block", "exit")
    lab.wait_end()
    record = lab.exit_of(run_id)
    assert record is not None
    assert (record.cause, record.code) == ("stopped", 0)
    assert record.last_backup is not None
    assert (lab.path(record.last_backup) / "meta.json").is_file()
    assert lab.path(str(record.model_path)).is_file()
    assert not lab.attempt(waiting).path.exists()
