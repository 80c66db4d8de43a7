"""A daemon is upgraded under a live run: what an older runner began is adopted, read and stopped by today's daemon."""

from pathlib import Path

import pytest

from daemon.runs.states import RunState
from tests.supervisor.conftest import READY, Lab, spec, step, wait_state, wait_until

OLDER = Path(__file__).parents[1] / "fixtures" / "runner-first-build-of-protocol-1.pyz"
STOPPED = ["emit", {"type": "trainer.finished", "outcome": "stopped", "message": "stopped"}]


@pytest.mark.parametrize("is_stopped", [False, True])
async def test_a_run_of_an_older_runner_is_adopted_read_and_ended(tmp_path: Path, archive: Path, is_stopped: bool) -> None:
    older, newer = Lab(tmp_path, OLDER), Lab(tmp_path, archive)
    async with older.daemon() as supervisor:
        run = await supervisor.start_now(spec(READY, step(1), ["await_command"], ["answer", "done"], step(2), ["await_command"], STOPPED))
        await wait_until(supervisor, lambda: run.view.progress is not None)
    async with newer.daemon() as supervisor:
        adopted = supervisor.run(run.run_id)
        assert adopted.view.is_live
        done = await adopted.send("backup", {"note": "x" * 5000}, settle_s=30)
        assert done is not None
        await wait_until(supervisor, lambda: adopted.view.progress is not None and adopted.view.progress.global_step == 2)
        if is_stopped:
            await supervisor.stop(adopted)
        else:
            await adopted.send("save", settle_s=0)
        await wait_state(supervisor, adopted, RunState.STOPPED)
        assert adopted.view.exit is not None
        assert adopted.view.exit["code"] == 0
