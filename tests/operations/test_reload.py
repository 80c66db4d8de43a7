"""SIGHUP: what changes live, what waits, and that an error changes nothing."""

import json
import os
import pty
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.errors import UnavailableError
from daemon.hangup import HangUp, has_terminal
from daemon.runs.states import RunState
from daemon.settings.in_force import Change, InForce, merge
from daemon.settings.model import Section, Settings, load_settings
from daemon.supervisor.plan import StopPeriods
from daemon.supervisor.supervisor import Policy
from tests.operations.daemon import COMMAND, ENVIRONMENT, serving
from tests.supervisor.conftest import READY, Lab, spec, wait_state


def settings(folder: Path, toml: str = "") -> Settings:
    (folder / "settings.toml").write_text(toml)
    return load_settings({"config": folder / "settings.toml"}, {"HOME": "/home/ada"}, folder)


def test_a_merge_takes_what_is_live_and_names_what_waits(tmp_path: Path) -> None:
    before = settings(tmp_path)
    wanted = settings(tmp_path, 'port = 9000\n[stop]\ngrace_s = 5\n[log]\nformat = "json"\n[onetrainer]\nhome = "/opt/OneTrainer"\n')
    merged, change = merge(before, wanted)
    assert change == Change(live=("stop.grace_s", "log.format"), waiting=("port", "onetrainer.home"))
    assert (merged.stop.grace_s, merged.log.format, merged.port, merged.onetrainer.home) == (5.0, "json", 8000, None)
    assert merge(before, before) == (before, Change())


def test_what_is_said_to_be_live_is_a_setting() -> None:
    models = [Settings, *(field.annotation for field in Settings.model_fields.values())]
    sections = [model for model in models if isinstance(model, type) and issubclass(model, Section)]
    assert [(model, name) for model in sections for name in model.live if name not in model.model_fields] == []


def test_a_part_that_cannot_follow_keeps_all_of_them_as_they_were(tmp_path: Path) -> None:
    in_force = InForce(settings(tmp_path))
    before, told = in_force.now, []

    def refuse(_: Settings) -> Callable[[], None]:
        raise UnavailableError("the certificate cannot be read")

    in_force.on_change(lambda to_come: lambda: told.append(to_come.stop.grace_s))
    in_force.change(settings(tmp_path, "[stop]\ngrace_s = 5\n"))
    assert (in_force.now.stop.grace_s, told) == (5.0, [5.0])
    in_force.on_change(refuse)
    with pytest.raises(UnavailableError):
        in_force.change(before)
    assert (in_force.now.stop.grace_s, told) == (5.0, [5.0])


def test_a_hang_up_of_a_server_without_a_terminal_reloads_what_can_change_live(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    presets = f"/config/presets?config_dir={tmp_path}/elsewhere"
    with serving(tmp_path, '[paths]\nroots = []\n[http]\nallowed_hosts = ["gpu.example.org"]\n') as server:
        assert server.get("/health", Host="gpu.example.org")[0] == 200
        assert server.get(presets)[0] == 403

        server.configure(
            f'[paths]\nroots = ["{tmp_path}/elsewhere"]\n[http]\nallowed_hosts = ["other.example.org"]\nmax_body_bytes = 1024\n'
            '[log]\nformat = "json"\nrequests = "info"\n[onetrainer]\nhome = "/opt/OneTrainer"\n'
        )
        server.reload()
        done = json.loads(server.wait_line("the settings are reloaded"))
        assert all(key in done["message"] for key in ("paths.roots", "http.allowed_hosts", "http.max_body_bytes", "log.format"))
        assert "the setting onetrainer.home has changed, but waits for a restart" in json.loads(server.wait_line("waits"))["message"]
        assert server.get("/health", Host="gpu.example.org")[0] == 403
        assert server.get("/health", Host="other.example.org")[0] == 200
        assert server.get(presets)[0] == 200
        assert server.call("POST", "/training/start", {"config_path": "x" * 2000})[0] == 413
        assert json.loads(server.wait_line("POST /training/start"))["status"] == 413


def test_an_error_leaves_the_settings_in_force_and_is_told(tmp_path: Path) -> None:
    with serving(tmp_path, '[http]\nallowed_hosts = ["gpu.example.org"]\n') as server:
        server.configure('[http]\nallowed_hosts = []\n[stop]\ngrace = 5\nterm_s = "soon"\n')
        server.reload()
        assert "stop.grace is no setting; did you mean stop.grace_s?" in server.wait_line("not reloaded")
        assert "stop.term_s = 'soon' is not allowed" in server.wait_line("not reloaded")
        assert server.get("/health", Host="gpu.example.org")[0] == 200
        server.configure("")
        server.reload()
        assert "in force now: http.allowed_hosts" in server.wait_line("reloaded")
        assert "the next daemon adopts them" in server.end()
        assert server.process.returncode == 0


async def test_with_more_places_a_queued_run_starts_and_with_fewer_none_is_stopped(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        first, second = (supervisor.submit(spec(READY, ["hang"])) for _ in range(2))
        await wait_state(supervisor, first, RunState.TRAINING)
        assert second.view.state is RunState.QUEUED
        supervisor.change_policy(Policy(2, StopPeriods(5.0, 5.0)))
        await wait_state(supervisor, second, RunState.TRAINING)
        supervisor.change_policy(Policy(1, StopPeriods(5.0, 5.0)))
        assert supervisor.places == 1
        assert {first.view.state, second.view.state} == {RunState.TRAINING}
        launch = json.loads(second.directory.attempt(1).launch.read_bytes())
        assert launch["stop"] == {"grace_s": 5.0, "term_s": 5.0}


def test_the_service_manager_hears_of_a_reload_and_of_its_end(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        with serving(tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify")) as server:
            told = [manager.recv(4096).decode()]
            while "READY=1" not in told:
                told.append(manager.recv(4096).decode())
            server.configure("[log\n")
            server.reload()
            assert "not valid TOML" in server.wait_line("not reloaded")
            while told[-1] != "READY=1" or not any(one.startswith("RELOADING=1\nMONOTONIC_USEC=") for one in told):
                told.append(manager.recv(4096).decode())
            assert server.get("/ready")[0] == 200, "an error in a file makes nobody less ready"
            assert "onetrainerd_settings_last_reload_successful 0.0" in server.get("/metrics")[1]


def test_the_end_of_its_terminal_ends_a_server_and_a_signal_from_elsewhere_reloads_it(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("")
    os.mkfifo(tmp_path / "log")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        command = " ".join([*COMMAND, "serve", "--config", "settings.toml", "--state-dir", "state", "--port", "0"])
        os.execve("/bin/sh", ["sh", "-c", f"exec {command} 2>log"], ENVIRONMENT)
    with (tmp_path / "log").open() as log:
        shown = b""
        while b" on http://" not in shown:
            shown += os.read(terminal, 4096)
        (tmp_path / "settings.toml").write_text("[stop]\ngrace_s = 5\n")
        os.kill(pid, signal.SIGHUP)
        assert "in force now: stop.grace_s" in log.readline()
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert "the terminal has hung up" in log.read()


def test_a_process_without_a_terminal_is_never_hung_up_on(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("42 (a (odd) name) S 1 42 42 0 -1 4194560")
    assert not has_terminal(stat)
    assert not HangUp(stat).has_happened()
    stat.write_text("42 (a (odd) name) S 1 42 42 34816 42 4194560")
    hang_up = HangUp(stat)
    assert not hang_up.has_happened()
    stat.write_text("42 (a (odd) name) S 1 42 42 0 -1 4194560")
    assert hang_up.has_happened()
