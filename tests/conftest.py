"""Fixtures that every room may use."""

from pathlib import Path

import pytest

from daemon.supervisor.packing import pack_runner


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packed runner, as the daemon packs it."""
    return pack_runner(tmp_path_factory.mktemp("runtime"))
