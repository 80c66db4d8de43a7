"""What a service manager hears of us: over real datagram sockets, by path and abstract."""

import asyncio
import os
import secrets
import socket
import time
from pathlib import Path

import pytest

from daemon.service.notify import Notifier
from daemon.service.pulse import beating


def listen(address: str) -> socket.socket:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind("\0" + address[1:] if address.startswith("@") else address)
    manager.settimeout(30)
    return manager


@pytest.mark.parametrize("is_abstract", [True, False])
def test_every_state_is_one_datagram(tmp_path: Path, is_abstract: bool) -> None:
    address = f"@onetrainerd-{secrets.token_hex(8)}" if is_abstract else str(tmp_path / "notify")
    with listen(address) as manager:
        notifier = Notifier({"NOTIFY_SOCKET": address})
        notifier.ready()
        for text in ("two\nlines", "two lines", "other"):
            notifier.status(text)
        notifier.extend(1.5)
        notifier.stopping()
        wanted = ["READY=1", "STATUS=two lines", "STATUS=other", "EXTEND_TIMEOUT_USEC=1500000", "STOPPING=1"]
        assert [manager.recv(4096).decode() for _ in wanted] == wanted


def test_a_reload_is_announced_with_the_monotonic_clock_and_ends_in_ready_also_after_an_error(tmp_path: Path) -> None:
    with listen(str(tmp_path / "notify")) as manager:
        before = time.monotonic_ns() // 1000
        with pytest.raises(ZeroDivisionError), Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}).reloading():
            raise ZeroDivisionError
        first, second = manager.recv(4096).decode().split("\n")
        assert first == "RELOADING=1"
        assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
        assert manager.recv(4096) == b"READY=1"


def test_nobody_who_listens_and_nothing_to_tell_to_are_no_errors(tmp_path: Path) -> None:
    for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}):
        Notifier(environ).ready()
    assert not Notifier({}).is_heard


def test_the_watchdog_is_meant_for_the_process_that_it_names() -> None:
    period = {"WATCHDOG_USEC": "30000000"}
    assert Notifier(period).watchdog_s == 30
    assert Notifier({**period, "WATCHDOG_PID": str(os.getpid())}).watchdog_s == 30
    for other in ({**period, "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}, {}):
        assert Notifier(other).watchdog_s is None


async def test_a_sign_of_life_comes_only_while_the_loop_turns(tmp_path: Path) -> None:
    with listen(str(tmp_path / "notify")) as manager:
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000"})
        async with beating(notifier, lambda: "well"):
            for _ in range(3):
                await asyncio.to_thread(heard, manager, b"WATCHDOG=1")
            drain(manager)
            time.sleep(0.2)  # noqa: ASYNC251 - the loop is what is held up here
            with pytest.raises(BlockingIOError):
                manager.recv(4096)
            manager.setblocking(True)
            manager.settimeout(30)
            await asyncio.to_thread(heard, manager, b"WATCHDOG=1")


def heard(manager: socket.socket, wanted: bytes) -> None:
    while manager.recv(4096) != wanted:
        pass


def drain(manager: socket.socket) -> None:
    manager.setblocking(False)
    try:
        while manager.recv(4096):
            pass
    except BlockingIOError:
        pass
