"""Cursors that do not belong where they are sent to."""

from pathlib import Path

import pytest

from daemon.runs.spot import Cursor, Mark, Spot
from tests.e2e.conftest import LONG, make_config
from tests.e2e.daemon import Daemon

pytestmark = pytest.mark.torch


async def test_a_cursor_of_another_run_or_from_beyond_the_end_is_refused(daemon: Daemon, folder: Path) -> None:
    first, second = [(await daemon.post("/runs", {"config": make_config(folder, **LONG)}, status=201))["id"] for _ in range(2)]
    events = await daemon.get(f"/runs/{first}/events")
    assert (await daemon.get(f"/runs/{second}/events"))["count"] == 1
    assert (await daemon.get(f"/runs/{first}/events?since={events['next']}"))["events"] != events["events"]
    beyond = Cursor(first, {first: Mark(Spot(1, 10_000_000, 1))}).encode()
    paths = (f"/runs/{second}/events?since={events['next']}", f"/runs/{first}/events?since={beyond}", f"/ws?cursor={beyond}")
    for path in (*paths, f"/ws?cursor={Cursor('999999-abcd').encode()}"):
        assert (await daemon.get(path, status=400))["details"]["code"] == "bad_cursor"
