"""What a SIGHUP means: the terminal has gone, or somebody asks for a reload."""

from pathlib import Path

_STAT = Path("/proc/self/stat")


def has_terminal(stat: Path = _STAT) -> bool:
    """Whether this process has a controlling terminal: the field tty_nr of proc_pid_stat(5), the seventh."""
    try:
        after_name = stat.read_text().rpartition(")")[2].split()
        return after_name[4] != "0"
    except (OSError, IndexError):
        return False


class HangUp:
    """Tells a hang-up from a request to reload.

    The kernel takes the terminal away from a session before it signals the hang-up (tty_signal_session_leader in tty_jobctrl.c). So a
    process that had one at its start and has none now was hung up on; with it still there, or never there, somebody has sent the signal.
    """

    def __init__(self, stat: Path = _STAT) -> None:
        self._stat = stat
        self._had_terminal = has_terminal(stat)

    def has_happened(self) -> bool:
        """To be asked when SIGHUP has come."""
        return self._had_terminal and not has_terminal(self._stat)
