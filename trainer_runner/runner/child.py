"""The trainer as a process: started in a session of its own, reaped with all that it leaves behind."""

import ctypes
import fcntl
import os
import signal
import subprocess
import time
from typing import Any, NamedTuple

_PR_SET_CHILD_SUBREAPER = 36
_STRAYS_GRACE_S = 2.0
_STRAYS_GIVE_UP_S = 10.0
_PIPE_BYTES = 1 << 20


class TrainerProcess(NamedTuple):
    """A started trainer. The descriptors are the runner's ends; all but *commands* are non-blocking reads."""

    pid: int
    events: int
    commands: int
    console: int

    def send(self, number: int) -> None:
        """Signal the process. Safe: it is our child, and its pid stays taken until we reap it."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def kill_group(self) -> None:
        """SIGKILL to its process group; the group's number stays taken as long as its leader is not reaped."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def become_subreaper() -> None:
    """What the trainer leaves behind becomes ours to reap, not init's (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def spawn(launch: "dict[str, Any]", attempt_folder: str) -> TrainerProcess:
    """Start the trainer that *launch* describes. Raises OSError when its interpreter or folder is missing."""
    events_read, events_write = os.pipe()
    commands_read, commands_write = os.pipe()
    console_read, console_write = os.pipe()
    theirs = (events_write, commands_read, console_read)
    try:
        process = subprocess.Popen(
            [
                *launch["argv"], "--attempt", attempt_folder, "--events-fd", str(events_write),
                "--commands-fd", str(commands_read), "--console-fd", str(console_read),
            ],
            stdin=subprocess.DEVNULL, stdout=console_write, stderr=console_write,
            cwd=launch["cwd"], env=launch["env"], start_new_session=True, pass_fds=theirs,
        )  # fmt: skip
    except OSError:
        for fd in (events_read, commands_write, *theirs, console_write):
            os.close(fd)
        raise
    for fd in (events_write, commands_read, console_write):
        os.close(fd)
    process.returncode = 0  # we reap it ourselves, by waitid; without this Popen warns that it still runs
    for fd in (events_read, commands_write, console_read):
        os.set_blocking(fd, False)
        try:
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except (OSError, AttributeError):
            pass  # 3.10+ knows the constant; an exhausted pipe-user-pages-soft leaves 64 KiB, which works too
    _prefer_for_oom(process.pid)
    return TrainerProcess(process.pid, events_read, commands_write, console_read)


def has_exited(pid: int) -> bool:
    """Whether the child *pid* is a zombie; it stays one. Adopted processes that have ended are reaped on the way."""
    while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
        if ended.si_pid == pid:
            return True
        os.waitpid(ended.si_pid, 0)
    return False


def reap(pid: int) -> int:
    """The exit code of the zombie *pid*, or minus its signal."""
    result = os.waitid(os.P_PID, pid, os.WEXITED)
    assert result is not None
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def end_strays(trainer: TrainerProcess) -> int:
    """End what the trainer left behind, in its group or adopted by us: SIGTERM, two seconds, SIGKILL. Returns how many there were.

    The trainer itself is a zombie here and is not reaped, so that its number names its group and nothing else. A process that even
    SIGKILL does not end (it hangs in the kernel) is left after ten seconds.
    """
    strays: set[int] = set()
    began = time.monotonic()
    while time.monotonic() - began < _STRAYS_GIVE_UP_S:
        late = time.monotonic() - began > _STRAYS_GRACE_S
        present = {pid for pid in _children() if pid != trainer.pid and os.waitpid(pid, os.WNOHANG) == (0, 0)}
        if not present:
            break
        for pid in present if late else present - strays:  # our children: their numbers cannot be reused before we reap them
            os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        strays |= present
        time.sleep(0.02)
    trainer.kill_group()
    return len(strays)


def _children() -> "list[int]":
    """Our children, zombies included, by their parent's pid in /proc/<pid>/stat: that list, unlike `children`, misses nobody."""
    own = os.getpid()
    found: list[int] = []
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                stat = file.read()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(stat[stat.rindex(b")") + 2 :].split()[1]) == own:
            found.append(int(name))
    return found


def _prefer_for_oom(pid: int) -> None:
    """When memory runs out the kernel shall take the trainer, not the runner or the daemon, who tell what happened."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:
            file.write("500")
    except OSError:
        pass
