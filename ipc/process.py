"""Who is this pid, provably. A pid alone names whoever has it today; with its start time and the boot, it names one process."""

import os
import signal
from typing import Any, NamedTuple


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


class ProcessIdentity(NamedTuple):
    """One process, for ever: *start_ticks* is field 22 of /proc/<pid>/stat, clock ticks after the boot (proc(5))."""

    pid: int
    start_ticks: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity":
        """The identity of the living process *pid*.

        Raises:
            ProcessLookupError: there is none, or it is a zombie.
        """
        ticks = _start_ticks(pid)
        if ticks is None:
            raise ProcessLookupError(f"no living process has the pid {pid}")
        return cls(pid, ticks, boot_id())

    @classmethod
    def from_json(cls, value: Any) -> "ProcessIdentity":
        """Raises KeyError, TypeError or ValueError on anything that `to_json` did not write."""
        return cls(int(value["pid"]), int(value["start_ticks"]), str(value["boot_id"]))

    def to_json(self) -> dict[str, Any]:
        return self._asdict()

    def is_alive(self) -> bool:
        return self.boot_id == boot_id() and _start_ticks(self.pid) == self.start_ticks

    def open_pidfd(self) -> "int | None":
        """A pidfd of this very process, or None when it is gone.

        Opened first and proved after, so that no reuse of the pid can come in between (pidfd_open(2)). The caller closes it.
        """
        try:
            pidfd = os.pidfd_open(self.pid)
        except OSError:
            return None
        if self.is_alive():
            return pidfd
        os.close(pidfd)
        return None

    def send_signal(self, signal_number: int) -> bool:
        """Signal this very process; False when it is gone."""
        pidfd = self.open_pidfd()
        if pidfd is None:
            return False
        try:
            signal.pidfd_send_signal(pidfd, signal_number)
        except ProcessLookupError:
            return False
        finally:
            os.close(pidfd)
        return True

    def kill_group(self) -> bool:
        """SIGKILL to the process group that this very process leads; False when it is gone or leads none.

        The group bears its leader's number as long as that lives, which the pidfd, opened and proved first, holds still.
        """
        pidfd = self.open_pidfd()
        if pidfd is None:
            return False
        try:
            if os.getpgid(self.pid) != self.pid:
                return False
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        finally:
            os.close(pidfd)
        return True


def _start_ticks(pid: int) -> "int | None":
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name in parentheses may hold spaces and parentheses itself: count from the last one.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
