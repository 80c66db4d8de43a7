"""A real systemd as PID 1 on a throw-away copy of this machine, with onetrainerd in it as a user would have put it there."""

import contextlib
import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from daemon.supervisor.adoption import identities
from ipc.exit_record import ExitRecord, read_exit
from ipc.run_directory import AttemptDirectory, RunDirectory

ROOT = Path(__file__).parents[2]
STATE, SOURCES, VENV = Path("/var/lib/onetrainerd"), Path("/opt/onetrainerd/src"), Path("/opt/onetrainerd/venv")
PACKAGES = Path("/opt/packages")
DEADLINE_S = 90.0
PORT = 8000
_LITTLE_BYTES = 100 << 20
_CLONE_NEWNET = 0x40000000
_NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd")
Json = dict[str, Any]


def missing() -> str | None:
    """Why no systemd can be booted here; None when it can."""
    if os.geteuid() != 0:
        return "a systemd of one's own needs root"
    for program in ("/lib/systemd/systemd", "/usr/bin/dbus-daemon"):
        if not Path(program).exists():
            return f"{program} is missing: apt-get install --no-install-recommends systemd dbus"
    for program in ("unshare", "nsenter", "ip"):
        if shutil.which(program) is None:
            return f"{program} is missing: apt-get install util-linux iproute2"
    for kind in ("overlay", "cgroup2"):
        if f"\t{kind}\n" not in Path("/proc/filesystems").read_text():
            return f"this kernel has no {kind}"
    tried = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--cgroup", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else f"namespaces cannot be made here: {tried.stderr.decode().strip()}"


class Lab:
    """Begin with `boot`, end with `close`. Paths and commands are those inside of the copy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = STATE
        self.user = "onetrainerd"
        self._log = (folder / "boot.log").open("wb")
        self._pid = 0
        self._shell: subprocess.Popen[bytes]
        self._keeper: subprocess.Popen[bytes]

    def boot(self) -> None:
        command = [
            "unshare",
            "-m",
            "-p",
            "-u",
            "-i",
            "-n",
            "-C",
            "--fork",
            "--kill-child",
            "bash",
            str(Path(__file__).with_name("boot.sh")),
        ]
        self._shell = subprocess.Popen([*command, str(self.folder)], stdout=self._log, stderr=self._log)
        wait_until(lambda: (self.folder / "up").exists() or self._shell.poll() is not None, "the lab to come up")
        assert (self.folder / "up").exists(), (self.folder / "boot.log").read_text()
        [init] = psutil.Process(self._shell.pid).children()
        self._pid = init.pid
        # Holds the mounts when PID 1 has gone, so that what lies there can still be read.
        self._keeper = subprocess.Popen(["nsenter", "--target", str(self._pid), "--mount", "sleep", "infinity"])
        wait_until(lambda: self._mounts(self._keeper.pid) == self._mounts(self._pid), "the keeper to be in the lab")

    @staticmethod
    def _mounts(pid: int) -> str:
        return str(Path(f"/proc/{pid}/ns/mnt").readlink())

    def close(self) -> None:
        self._shell.kill()
        self._shell.wait()
        self._keeper.kill()
        self._keeper.wait()
        self._log.close()

    def path(self, inside: Path | str) -> Path:
        """A path of the copy as seen from here; also after its end."""
        return Path(f"/proc/{self._keeper.pid}/root{self.folder}/stage/root{inside}")

    def run(self, *command: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run *command* as root in the copy."""
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        done = subprocess.run(
            ["nsenter", "--target", str(self._pid), *_NAMESPACES, "--", *command],
            capture_output=True, text=True, timeout=DEADLINE_S, check=False, env=environment, **options,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}\n{self.journal()}"
        return done

    def onetrainerd(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(str(VENV / "bin" / "onetrainerd"), *arguments, check=check)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit, as `systemctl show` says it."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).stdout.strip()

    def journal(self) -> str:
        done = subprocess.run(
            ["nsenter", "--target", str(self._pid), *_NAMESPACES, "--", "journalctl", "--no-pager", "-n", "300", "-o", "short-monotonic"],
            capture_output=True, text=True, check=False, timeout=DEADLINE_S,
        )  # fmt: skip
        return done.stdout

    def wait_end(self) -> None:
        """Return when PID 1 has ended by itself."""
        self._shell.wait(DEADLINE_S)

    # onetrainerd in it.

    def put_onetrainerd(self) -> None:
        """A copy of the sources and a venv over the present packages, where every user may read them."""
        for name in ("daemon", "ipc", "trainer_runner", "configs", "systemd"):
            shutil.copytree(ROOT / name, self.path(SOURCES / name))
        base = Path(getattr(sys, "_base_executable", None) or sys.executable)
        packages = Path(sysconfig.get_path("purelib"))
        for parent in {*base.resolve().parents, *packages.parents}:
            self.run("chmod", "o+rx", str(parent))  # the developer's folders may be closed; those of the copy need not be
        self.run(str(base), "-m", "venv", "--without-pip", str(VENV))
        own = self.path(VENV / packages.relative_to(sys.prefix))
        # The developer's may lie below /tmp, which units have one of their own of.
        self.run("mkdir", "-p", str(PACKAGES))
        self.run("mount", "--bind", str(packages), str(PACKAGES))
        (own / "lab.pth").write_text(f"{SOURCES}\n{PACKAGES}\n")
        script = self.path(VENV / "bin" / "onetrainerd")
        script.write_text(f"#!{VENV}/bin/python -I\nfrom daemon.cli.main import main\nmain()\n")
        script.chmod(0o755)

    def upgrade(self, version: str) -> None:
        """What pip does: other sources in the place of the old ones."""
        self.path(SOURCES / "ipc" / "__init__.py").write_text(self._versioned(version))

    def _versioned(self, version: str) -> str:
        lines = (ROOT / "ipc" / "__init__.py").read_text().splitlines()
        return "\n".join(f'__version__ = "{version}"' if line.startswith("__version__") else line for line in lines) + "\n"

    def daemon_pid(self) -> int:
        return int(self.show("onetrainerd.service", "MainPID"))

    def call(self, method: str, path: str, body: object = None, status: int = 200) -> Json:
        """The answer of the daemon in the copy, over its loopback."""
        token = self.path(self.state / "token").read_text().strip()
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=DEADLINE_S)
        connection.sock = self._connect()
        try:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            connection.request(method, path, json.dumps({} if body is None else body) if method != "GET" else None, headers)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == status, f"{method} {path} answered {answer.status}: {text.decode()}\n{self.journal()}"
            found: Json = json.loads(text)
            return found
        finally:
            connection.close()

    def _connect(self) -> socket.socket:
        """A connection in the copy's network: setns(2) is for one thread alone, which ends with it."""
        made: list[socket.socket | Exception] = []

        def work() -> None:
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                with Path(f"/proc/{self._pid}/ns/net").open("rb") as namespace:
                    if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                made.append(socket.create_connection(("127.0.0.1", PORT), DEADLINE_S))
            except Exception as error:  # noqa: BLE001 - carried over to the thread that asked
                made.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        [result] = made
        if isinstance(result, Exception):
            raise result
        return result

    @contextlib.contextmanager
    def little_memory(self, launcher: str) -> Iterator[None]:
        """The next training has less memory than torch needs; with the direct launcher the daemon shares it.

        Where the kernel has the memory controller in cgroup v1, systemd in the copy, which has v2 alone, cannot limit it: a v1 group is
        made here, and the processes are put into it. Where it is in v2, MemoryMax= does it; that way has not been tested yet, for want of
        such a machine.
        """
        own = next((line.split(":")[2] for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line), None)
        if own is None:
            with self._limited_by_unit(launcher):
                yield
            return
        group = Path("/sys/fs/cgroup/memory", own.lstrip("/"), f"onetrainerd-{self._shell.pid}")
        group.mkdir()
        try:
            (group / "memory.limit_in_bytes").write_text(str(_LITTLE_BYTES))
            with self._limited_by_v1(launcher, f"/run/v1/{group.name}/cgroup.procs"):
                yield
        finally:
            wait_until(lambda: _dissolve(group), f"{group} to be empty")

    @contextlib.contextmanager
    def _limited_by_v1(self, launcher: str, procs: str) -> Iterator[None]:
        if launcher == "direct":
            self.run("sh", "-c", f"echo {self.daemon_pid()} > {procs}")
            yield
            return
        # As root until it is in the group, then as the unit's user: systemd itself would put it nowhere.
        start = f"echo $$$$ > {procs}; exec setpriv --reuid onetrainerd --regid onetrainerd --init-groups"
        lines = [
            "[Service]",
            "ExecStart=",
            f"ExecStart=+/bin/sh -c '{start} {VENV}/bin/python -I -m daemon.service.run_unit start {STATE}'",
        ]
        with self._drop_in("onetrainer-run@.service", lines):
            yield

    @contextlib.contextmanager
    def _limited_by_unit(self, launcher: str) -> Iterator[None]:
        lines = ["[Service]", f"MemoryMax={_LITTLE_BYTES}", "MemorySwapMax=0"]
        unit = "onetrainerd.service" if launcher == "direct" else "onetrainer-run@.service"
        with self._drop_in(unit, lines):
            yield

    @contextlib.contextmanager
    def _drop_in(self, unit: str, lines: list[str]) -> Iterator[None]:
        path = self.path(f"/etc/systemd/system/{unit}.d/memory-of-the-lab.conf")
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
        self.run("systemctl", "daemon-reload")
        yield
        path.unlink()
        self.run("systemctl", "daemon-reload")

    # Trainings.

    def put_images(self, inside: Path) -> None:
        """A folder with images, of the service's user."""
        from tests.e2e.conftest import write_images  # noqa: PLC0415 - it imports PIL, which a skipped test need not have

        write_images(self.path(inside / "images"))
        self.run("chown", "-R", f"{self.user}:", str(inside))

    def attempt(self, run_id: str, number: int = 1) -> AttemptDirectory:
        return RunDirectory(self.path(self.state / "runs" / run_id)).attempt(number)

    def pid_of(self, run_id: str, who: str, number: int = 1) -> int:
        found = identities(self.attempt(run_id, number))[("runner", "trainer").index(who)]
        assert found is not None
        return found.pid

    def cgroup_of(self, pid: int) -> str:
        """The cgroup v2 path of a process, by its pid in the copy."""
        lines = self.path(f"/proc/{pid}/cgroup").read_text().splitlines()
        return next(line[3:] for line in lines if line.startswith("0::"))

    def exit_of(self, run_id: str, number: int = 1) -> ExitRecord | None:
        return read_exit(self.attempt(run_id, number).exit)

    def wait_step(self, run_id: str, number: int) -> None:
        wait_until(lambda: self._step(run_id) >= number, f"step {number} of {run_id}", self.journal)

    def wait_state(self, run_id: str, *states: str) -> Json:
        found: Json = {}

        def look() -> bool:
            found.update(self.call("GET", f"/runs/{run_id}"))
            return found["state"] in states

        wait_until(look, f"{run_id} to be {states}", lambda: f"{found}\n{self.journal()}")
        return found

    def _step(self, run_id: str) -> int:
        progress = self.call("GET", f"/runs/{run_id}")["progress"]
        return int(progress["global_step"]) if progress else 0


def wait_until(condition: Callable[[], object], what: str, story: Callable[[], str] = str) -> None:
    """Another machine gives no event to wait for: it is asked again and again, under a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        with contextlib.suppress(ConnectionError):
            if condition():
                return
        assert time.monotonic() < deadline, f"{what} did not come within {DEADLINE_S:g} s\n{story()}"
        time.sleep(0.1)


@contextlib.contextmanager
def booted(folder: Path) -> Iterator[Lab]:
    lab = Lab(folder)
    try:
        lab.boot()
        lab.put_onetrainerd()
        yield lab
    finally:
        lab.close()


def _dissolve(group: Path) -> bool:
    """Move who is in a v1 control group to its parent, and remove it; False when somebody was still on his way out."""
    try:
        for pid in (group / "cgroup.procs").read_text().split():
            (group.parent / "cgroup.procs").write_text(pid)
        group.rmdir()
    except OSError:
        return False
    return True


def kill(pid: int, number: signal.Signals, lab: Lab) -> None:
    lab.run("kill", f"-{number.value}", str(pid))
