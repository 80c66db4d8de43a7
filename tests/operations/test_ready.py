"""GET /ready: 200 only when the daemon can do its work, and /health all the while."""

import json
from pathlib import Path

from daemon.runs.states import RunState
from daemon.supervisor.readiness import Readiness
from tests.operations.daemon import serving
from tests.supervisor.conftest import READY, Lab, spec, step, wait_state, wait_until


class Now:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


async def failed(readiness: Readiness) -> list[str]:
    return [one.check for one in await readiness.look()]


async def test_a_daemon_is_ready_while_its_supervisor_is_at_work(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        readiness = Readiness(supervisor, lab.state_dir, Now())
        assert await failed(readiness) == []
        assert not (lab.state_dir / ".ready").exists()
    assert await failed(readiness) == ["runs"]


async def test_a_state_directory_that_cannot_be_written_is_told_and_looked_at_again(lab: Lab) -> None:
    now = Now()
    async with lab.daemon() as supervisor:
        readiness = Readiness(supervisor, lab.state_dir, now)
        (lab.state_dir / ".ready").mkdir()
        assert await failed(readiness) == ["state_directory"]
        assert str(lab.state_dir) not in readiness.failed[0].message
        (lab.state_dir / ".ready").rmdir()
        assert await failed(readiness) == ["state_directory"], "the disk is not asked at each call"
        now.seconds += 6
        assert await failed(readiness) == []


async def test_a_journal_that_is_not_taken_in_is_told_once_it_has_stood_still(lab: Lab) -> None:
    now = Now()
    async with lab.daemon() as supervisor:
        run = supervisor.submit(spec(READY, step(1), ["hang"]))
        await wait_state(supervisor, run, RunState.TRAINING)
        await wait_until(supervisor, lambda: run.view.progress is not None)
        readiness = Readiness(supervisor, lab.state_dir, now)
        [journal] = run.directory.attempt(1).events.iterdir()
        with journal.open("ab") as file:
            file.write(b'{"half a line, and nobody goes on')
        assert await failed(readiness) == []
        now.seconds += 31
        assert await failed(readiness) == ["journals"]
        assert run.run_id in readiness.failed[0].message


async def test_a_file_system_below_its_mark_is_told(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        run = supervisor.submit(spec(READY, step(1), ["hang"]))
        await wait_state(supervisor, run, RunState.TRAINING)
        readiness = Readiness(supervisor, lab.state_dir, Now())
        run.record("disk.low", {"path": "/workspace", "free": 1, "total": 1000})
        assert await failed(readiness) == ["disk"]
        assert readiness.failed[0].message == "a file system is below its mark: low"


def test_over_http_a_daemon_that_is_not_ready_says_why_and_is_alive_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "state" / ".ready").mkdir(parents=True)
    with serving(tmp_path) as server:
        status, text = server.get("/ready", Authorization="")
        answer = json.loads(text)
        assert (status, answer["error"], answer["details"]["code"]) == (500, "InternalError", "not_ready")
        assert [one["check"] for one in answer["details"]["failed"]] == ["state_directory"]
        assert str(tmp_path) not in text
        assert server.get("/health", Authorization="")[0] == 200
        assert "not ready: state_directory" in server.wait_line("not ready")
        assert "onetrainerd_ready 0.0" in server.get("/metrics")[1]
