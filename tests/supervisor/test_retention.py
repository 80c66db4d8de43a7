"""Old run directories go; what a run made, and what still lives, stays."""

from collections.abc import Callable

import orjson
import pytest

from daemon.api.feed import Feed
from daemon.errors import NotFoundError
from daemon.runs.retention import Retention
from daemon.runs.spot import Cursor, Mark
from daemon.runs.states import RunState
from daemon.supervisor.live import LiveRun
from daemon.supervisor.supervisor import Supervisor
from tests.supervisor.conftest import FINISHED, READY, Lab, spec, step, wait_state, wait_until
from tests.supervisor.test_restarts import make_backup, ready, told_backup

HOLD = ["await_command"]


async def completed(supervisor: Supervisor, *script: list[object]) -> LiveRun:
    run = await supervisor.start_now(spec(READY, step(1), *script, FINISHED))
    await wait_state(supervisor, run, RunState.COMPLETED)
    await wait_until(supervisor, lambda: run.is_settled)
    return run


def is_gone(supervisor: Supervisor, run: LiveRun) -> Callable[[], bool]:
    return lambda: run.run_id not in [other.run_id for other in supervisor.runs()]


async def test_old_runs_go_at_start_and_after_each_end_and_their_backups_stay(lab: Lab) -> None:
    backup = make_backup(lab.state_dir, "kept")
    async with lab.daemon() as supervisor:
        old = [await completed(supervisor, ready(lab.state_dir), told_backup(backup)) for _ in range(3)]
    lab.retention = Retention(keep_runs=2)
    async with lab.daemon() as supervisor:
        await wait_until(supervisor, is_gone(supervisor, old[0]))
        with pytest.raises(NotFoundError):
            supervisor.run(old[0].run_id)
        assert supervisor.run(old[1].run_id).view.state is RunState.COMPLETED
        new = await completed(supervisor)
        await wait_until(supervisor, is_gone(supervisor, old[1]))
        assert [run.run_id for run in supervisor.runs()] == [new.run_id, old[2].run_id]
    assert not old[0].directory.path.exists()
    assert [path.name for path in sorted((lab.state_dir / "runs").iterdir())] == [old[2].run_id, new.run_id]
    assert (lab.state_dir / "workspace" / "backup" / "kept" / "meta.json").exists()


async def test_a_cursor_that_names_a_removed_run_goes_on_with_the_others(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        old, kept = await completed(supervisor), await completed(supervisor)
    lab.retention = Retention(keep_runs=1)
    async with lab.daemon() as supervisor:
        cursor = Cursor("", {old.run_id: Mark(), kept.run_id: Mark()})
        await wait_until(supervisor, is_gone(supervisor, old))
        feed = Feed(supervisor, cursor)
        frames = [orjson.loads(frame) for frame in await feed.next()]
        assert {frame["run_id"] for frame in frames} == {kept.run_id}
        after = Cursor.decode(frames[-1]["cursor"])
        assert old.run_id not in after.marks
        assert await feed.next() == []
        new = await completed(supervisor)
        assert {orjson.loads(frame)["run_id"] for frame in await feed.next()} == {new.run_id}


async def test_what_is_not_ended_or_holds_somebodys_workspace_is_never_removed(lab: Lab) -> None:
    lab.retention = Retention(keep_runs=1)
    async with lab.daemon() as supervisor:
        inside = await supervisor.start_now(spec(READY, HOLD, FINISHED))
        queued = supervisor.submit(spec(ready(inside.directory.path), READY, HOLD, FINISHED))
        (inside.directory.path / "samples").mkdir()
        await inside.send("save", settle_s=0)
        await wait_state(supervisor, queued, RunState.TRAINING)
        last = supervisor.submit(spec(FINISHED))
        await queued.send("save", settle_s=0)
        await wait_until(supervisor, lambda: last.is_settled)
    async with lab.daemon() as supervisor:
        await wait_until(supervisor, is_gone(supervisor, queued))
        assert [run.run_id for run in supervisor.runs()] == [last.run_id, inside.run_id]
    async with lab.daemon() as supervisor:
        newest = await completed(supervisor)
        await wait_until(supervisor, is_gone(supervisor, last))
        assert [run.run_id for run in supervisor.runs()] == [newest.run_id, inside.run_id]
    assert (inside.directory.path / "samples").exists()
