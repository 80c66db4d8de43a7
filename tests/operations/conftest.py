"""The fixtures of two other rooms: a supervisor over scripted trainers, and a daemon process with a real one."""

from tests.e2e.conftest import daemon, folder, start_daemon
from tests.supervisor.conftest import lab

__all__ = ["daemon", "folder", "lab", "start_daemon"]
