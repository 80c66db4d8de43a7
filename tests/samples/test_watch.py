"""The watch: a real watcher on real folders, and calls that come one at a time."""

import asyncio
import errno
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.samples.mounts import is_network
from daemon.samples.watch import SampleWatch

FAR_S = 3600.0
"""An interval that never comes within a test: what calls is the watcher."""


class Calls:
    """Records calls, and lets a test wait for one more than it has seen."""

    def __init__(self) -> None:
        self.keys: asyncio.Queue[str] = asyncio.Queue()

    async def __call__(self, key: str) -> None:
        self.keys.put_nowait(key)

    async def wait_call(self, key: str) -> None:
        async with asyncio.timeout(20):
            while await self.keys.get() != key:
                pass

    def drain(self) -> None:
        while not self.keys.empty():
            self.keys.get_nowait()


@pytest.fixture
async def calls() -> Calls:
    return Calls()


async def wait_watching(calls: Calls, key: str) -> None:
    """The call at `add`, and the one that says that the watcher stands."""
    await calls.wait_call(key)
    await calls.wait_call(key)
    calls.drain()


@pytest.mark.parametrize("is_polled", [False, True])
async def test_a_new_file_in_a_new_folder_calls_for_its_key_alone(tmp_path: Path, calls: Calls, is_polled: bool) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with SampleWatch(calls, interval_s=FAR_S, network=lambda _: is_polled) as watch:
        watch.add("1", tmp_path / "one")
        await wait_watching(calls, "1")
        watch.add("2", tmp_path / "two")
        await wait_watching(calls, "2")
        calls.drain()
        (tmp_path / "two" / "0 - a cat").mkdir()
        (tmp_path / "two" / "0 - a cat" / "a.png").write_bytes(b"x")
        async with asyncio.timeout(20):
            assert await calls.keys.get() == "2"


async def test_the_interval_calls_for_each_key_whatever_the_watcher_says(tmp_path: Path, calls: Calls) -> None:
    async with SampleWatch(calls, interval_s=0.05) as watch:
        watch.add("1", tmp_path / "missing")
        watch.add("2", tmp_path / "missing too")
        for _ in range(3):
            await calls.wait_call("1")
            await calls.wait_call("2")


async def test_a_folder_that_appears_later_is_watched_then(tmp_path: Path) -> None:
    started: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def watch_nothing(*folders: str, stop_event: threading.Event, **_: Any) -> Iterator[set[Any]]:
        loop.call_soon_threadsafe(started.put_nowait, folders)
        stop_event.wait()
        yield set()

    async with SampleWatch(Calls(), interval_s=0.05, watch=watch_nothing) as watch, asyncio.timeout(20):
        folder = tmp_path / "w" / "samples"
        watch.add("1", folder)
        assert started.empty()
        folder.mkdir(parents=True)
        assert await started.get() == (os.fspath(folder),)
        # Made anew under its old name, it is another folder: kept away meanwhile, the old one cannot lend it its inode.
        folder.rename(tmp_path / "old")
        folder.mkdir()
        assert await started.get() == (os.fspath(folder),)


async def test_a_burst_leads_to_one_call_at_a_time_and_one_after_it(tmp_path: Path) -> None:
    running = 0
    most = 0
    count = 0
    entered = asyncio.Event()
    release = asyncio.Event()

    async def slow(_: str) -> None:
        nonlocal running, most, count
        running += 1
        count += 1
        most = max(most, running)
        entered.set()
        await release.wait()
        running -= 1

    async with SampleWatch(slow, interval_s=FAR_S) as watch, asyncio.timeout(20):
        watch.add("1", tmp_path)
        await entered.wait()
        for _ in range(50):
            watch._touch({os.fspath(tmp_path / "a.png")})
        entered.clear()
        release.set()
        await entered.wait()
        await watch.remove("1")
    assert (most, count) == (1, 2)


async def test_a_removed_key_is_not_called_again_and_its_last_call_is_let_end(tmp_path: Path) -> None:
    entered = asyncio.Event()
    release = asyncio.Event()
    ended: list[str] = []

    async def slow(key: str) -> None:
        entered.set()
        await release.wait()
        ended.append(key)

    async with SampleWatch(slow, interval_s=0.01) as watch, asyncio.timeout(20):
        watch.add("1", tmp_path)
        await entered.wait()
        gone = watch.remove("1")
        assert not gone.done()
        release.set()
        await gone
        assert ended == ["1"]
        await watch.remove("never there")


async def test_an_error_of_the_callback_is_logged_and_the_next_call_comes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls()

    async def failing(key: str) -> None:
        await calls(key)
        raise OSError(errno.EIO, "the disk fails")

    async with SampleWatch(failing, interval_s=0.01) as watch:
        watch.add("1", tmp_path)
        for _ in range(3):
            await calls.wait_call("1")
    assert "the disk fails" in caplog.text


async def test_a_watcher_without_room_in_the_kernel_is_logged_once_and_the_interval_goes_on(
    tmp_path: Path, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: str, **__: Any) -> Iterator[set[Any]]:
        raise OSError(errno.ENOSPC, "OS file watch limit reached")

    async with SampleWatch(calls, interval_s=0.02, watch=refused) as watch:
        watch.add("1", tmp_path)
        for _ in range(10):
            await calls.wait_call("1")
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "max_user_watches" in warnings[0]


async def test_a_name_that_breaks_the_watcher_costs_one_interval(tmp_path: Path, calls: Calls) -> None:
    async with SampleWatch(calls, interval_s=FAR_S) as watch:
        watch.add("1", tmp_path)
        await wait_watching(calls, "1")
        (tmp_path / os.fsdecode(b"\xff\xfe.png")).write_bytes(b"x")
        await calls.wait_call("1")


async def test_a_folder_whose_name_is_not_utf8_is_called_by_the_interval(tmp_path: Path, calls: Calls) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    async with SampleWatch(calls, interval_s=0.02) as watch:
        watch.add("1", folder)
        for _ in range(3):
            await calls.wait_call("1")


async def test_a_deleted_folder_does_no_harm(tmp_path: Path, calls: Calls) -> None:
    (tmp_path / "a").mkdir()
    async with SampleWatch(calls, interval_s=0.05) as watch:
        watch.add("1", tmp_path / "a")
        await calls.wait_call("1")
        shutil.rmtree(tmp_path / "a")
        for _ in range(5):
            await calls.wait_call("1")


async def test_leaving_the_watch_ends_its_threads_and_tasks(tmp_path: Path, calls: Calls) -> None:
    async with SampleWatch(calls, interval_s=FAR_S) as watch:
        watch.add("1", tmp_path)
        await wait_watching(calls, "1")
        watch.add("2", tmp_path)
    assert not [thread for thread in threading.enumerate() if thread.name == "samples-watcher"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


MOUNTS = rb"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:40 / /mnt/nas rw shared:2 - nfs4 nas:/export rw
41 22 0:41 / /mnt/two\040words rw - cifs //server/share rw
42 22 0:42 / /mnt/sshfs rw - fuse.sshfs me@host: rw
43 40 8:2 / /mnt/nas/local rw - xfs /dev/sdb rw
44 22 0:44 / /mnt/covered rw - nfs nas:/a rw
45 22 8:3 / /mnt/covered rw - btrfs /dev/sdc rw
broken line
"""


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/home/me/samples", False), ("/mnt/nas", True), ("/mnt/nas/run/samples", True), ("/mnt/nasty", False), ("/mnt/two words/s", True),
        ("/mnt/sshfs/x", True), ("/mnt/nas/local/x", False), ("/mnt/covered/x", False),
    ],
)  # fmt: skip
def test_network_file_systems_are_told_by_their_mount(folder: str, expected: bool) -> None:
    assert is_network(Path(folder), MOUNTS) is expected


def test_a_local_folder_of_this_machine_is_local(tmp_path: Path) -> None:
    assert not is_network(tmp_path, b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n")
    assert is_network(tmp_path) in {True, False}
