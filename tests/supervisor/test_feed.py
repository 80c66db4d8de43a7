"""What the clients of `/ws` hear of many runs, and the cursors that they hold."""

import shutil

import orjson
import pytest

from daemon.api.feed import Feed, read_cursor
from daemon.errors import InvalidError
from daemon.runs.spot import Cursor, Mark, Spot
from daemon.runs.states import RunState
from daemon.supervisor.live import LiveRun
from daemon.supervisor.supervisor import Supervisor
from tests.supervisor.conftest import FINISHED, READY, Lab, spec, wait_state

HOLD = ["await_command"]


class Client:
    """Reads on, and each time by another feed: as one that loses its connection after each message."""

    def __init__(self, supervisor: Supervisor, cursor: str | None = None) -> None:
        self._supervisor = supervisor
        self.feed = Feed(supervisor, read_cursor(cursor, supervisor) if cursor else None)
        self.cursor: str = orjson.loads(self.feed.hello())["cursor"]

    async def hear(self, *, only: int | None = None) -> list[tuple[str, str]]:
        """Run and state of each `training_state` that is new, the first *only* frames' at most."""
        heard = []
        frames = [orjson.loads(frame) for frame in await self.feed.next()][:only]
        while frames:
            self.cursor = frames[-1]["cursor"]
            heard += [(frame["run_id"], frame["data"]["state"]) for frame in frames if frame["type"] == "training_state"]
            if only is not None:
                break
            frames = [orjson.loads(frame) for frame in await self.feed.next()]
        return heard

    def again(self) -> "Client":
        return Client(self._supervisor, self.cursor)


async def waiting(supervisor: Supervisor, count: int) -> tuple[LiveRun, list[LiveRun]]:
    first = await supervisor.start_now(spec(READY, HOLD, FINISHED))
    await wait_state(supervisor, first, RunState.TRAINING)
    return first, [supervisor.submit(spec(READY, HOLD, FINISHED)) for _ in range(count)]


async def test_a_long_queue_makes_no_long_cursor_and_loses_and_repeats_nothing(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        old = Client(supervisor)
        first, queue = await waiting(supervisor, 200)
        client = Client(supervisor)
        assert await old.hear() == [(first.run_id, state) for state in ("starting", "loading", "training")]
        assert max(len(client.cursor), len(old.cursor)) < 200
        await supervisor.stop(queue[150])
        for each in (client, old, client.again(), old.again()):
            assert await each.hear() == [(queue[150].run_id, "stopped")]
            assert len(each.cursor) < 1500
        for run in (queue[199], queue[0]):
            await supervisor.stop(run)
        for each in (client.again(), old, client):
            assert sorted(await each.hear()) == [(queue[0].run_id, "stopped"), (queue[199].run_id, "stopped")]
            assert await each.again().hear() == []
            assert await each.hear() == []
        late = supervisor.submit(spec(FINISHED))
        await supervisor.stop(late)
        assert await client.again().hear() == await client.hear() == [(late.run_id, "stopped")]
        assert len(client.cursor) < 2500
        assert await Client(supervisor).again().hear() == []


async def test_a_client_that_reconnects_after_each_message_hears_the_same_as_one_that_stays(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        stays, leaves = Client(supervisor), Client(supervisor)
        first, queue = await waiting(supervisor, 3)
        await supervisor.stop(queue[1])
        first.record("disk.low", {"free": 1, "path": "/"})
        await supervisor.stop(queue[2])
    async with lab.daemon() as supervisor:
        stays = Client(supervisor, stays.cursor)
        told = await stays.hear()
        leaves, heard, cursor = Client(supervisor, leaves.cursor), [], ""
        while cursor != leaves.cursor:
            cursor = leaves.cursor
            heard += await leaves.hear(only=1)
            leaves = leaves.again()
        assert heard == told
        assert (queue[1].run_id, "stopped") in told


async def test_a_cursor_from_elsewhere_is_refused(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        run, [queued] = await waiting(supervisor, 1)
        end = run.history.spot
        for cursor in (
            Cursor("999999-abcd"),
            Cursor(run.run_id, {run.run_id: Mark(Spot(end.attempt + 1))}),
            Cursor(run.run_id, {run.run_id: Mark(end._replace(seq=end.seq + 1))}),
            Cursor(run.run_id, {run.run_id: Mark(Spot(1, 1, end.own_seq + 1))}),
        ):
            with pytest.raises(InvalidError) as caught:
                read_cursor(cursor.encode(), supervisor)
            assert caught.value.code == "bad_cursor"
        for good in (Cursor(), Cursor(queued.run_id), Cursor(run.run_id, {run.run_id: Mark(end), "000000-abcd": Mark(Spot(7, 7, 7))})):
            assert read_cursor(good.encode(), supervisor) == good


async def test_a_cursor_behind_a_run_that_was_removed_since_is_as_good_as_before(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        run = await supervisor.start_now(spec(READY, FINISHED))
        await wait_state(supervisor, run, RunState.COMPLETED)
        client = Client(supervisor)
    shutil.rmtree(run.stored.directory.path)
    async with lab.daemon() as supervisor:
        again = Client(supervisor, client.cursor)
        later = await supervisor.start_now(spec(READY, FINISHED))
        await wait_state(supervisor, later, RunState.COMPLETED)
        heard = await again.hear()
        assert [run_id for run_id, _ in heard] == [later.run_id] * len(heard)
        assert heard[-1] == (later.run_id, "completed")
