"""The machine goes down under a supervisor: what nobody else stops is told to back up and stop, and nothing more begins."""

import asyncio

import pytest

from daemon.errors import UnavailableError
from daemon.runs.states import RunState
from daemon.runs.summary import in_one_line
from tests.supervisor.conftest import DEADLINE_S, FINISHED, READY, Lab, spec, step, wait_state, wait_until

STOPPED = ["emit", {"type": "trainer.finished", "outcome": "stopped", "message": "stopped", "global_step": 7}]


async def test_runners_of_ours_are_stopped_with_a_backup_and_the_queue_stays_for_the_next_boot(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        first = supervisor.submit(spec(READY, step(7), ["await_command"], ["answer", "done"], STOPPED))
        second = supervisor.submit(spec(READY, FINISHED))
        await wait_state(supervisor, first, RunState.TRAINING)
        async with asyncio.timeout(DEADLINE_S):
            await supervisor.see_off()
        assert (first.view.state, second.view.state) == (RunState.STOPPED, RunState.QUEUED)
        with pytest.raises(UnavailableError, match="going down"):
            await supervisor.start_now(spec(FINISHED))
    events = (first.directory.attempt(1).events / "000000000001.jsonl").read_text()
    assert '"result":{"backup":true}' in events.replace(" ", "")
    async with lab.daemon() as supervisor:
        await wait_state(supervisor, supervisor.run(second.run_id), RunState.COMPLETED)


async def test_runs_that_systemd_holds_are_left_to_it(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        run = supervisor.submit(spec(READY, step(1), ["hang"]))
        await wait_until(supervisor, lambda: run.view.progress is not None)
        run.stored.note_launcher("systemd")
        async with asyncio.timeout(DEADLINE_S):
            await supervisor.see_off()
        assert run.view.state is RunState.TRAINING
        assert in_one_line([run.view]) == f"{run.run_id} training at step 1"


async def test_all_runs_are_told_in_one_line(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        assert in_one_line([]) == "no training"
        runs = [supervisor.submit(spec(READY, step(3), ["hang"])) for _ in range(2)]
        await wait_until(supervisor, lambda: runs[0].view.progress is not None)
        assert in_one_line(run.view for run in runs) == f"{runs[0].run_id} training at step 3, 1 in the queue"
