"""Fixtures that every room may use."""

import signal
from pathlib import Path

import pytest
from hypothesis import settings

from daemon.supervisor.packing import pack_runner

settings.register_profile("untimed", deadline=None)  # a busy machine is no finding
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packed runner, as the daemon packs it."""
    return pack_runner(tmp_path_factory.mktemp("runtime"))


@pytest.fixture(autouse=True, scope="session")
def _what_is_started_hears_a_hang_up() -> None:
    """Under nohup(1) it is ignored, and so it would be in every daemon that a test starts. A handler does not outlive exec(2)."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
