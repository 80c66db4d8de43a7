"""Each storm in short: its bars hold, but for those in milliseconds, which a busy machine may miss. `make torture` is the long form."""

import os
from pathlib import Path

import pytest

from tests.torture.storms import STORMS, Storm, run_storm

SEED = int(os.environ.get("TORTURE_SEED") or 1)


@pytest.mark.parametrize("storm", STORMS, ids=lambda storm: storm.name)
async def test_the_storm_is_weathered(storm: Storm, tmp_path: Path) -> None:
    report = await run_storm(storm, tmp_path, storm.short, SEED, is_timed=False)
    if report.skipped:
        pytest.skip(report.skipped)
    assert not report.failures, report.rows
