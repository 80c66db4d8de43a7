"""Connections of strangers: one that says nothing is closed, and too many of them cost a line in the log."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from daemon.api.frame import make_app
from daemon.api.server import ApiRunner
from daemon.logs import AcceptFailures
from daemon.settings.model import Settings
from tests.api_frame.conftest import DEMO

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def serving(head_s: float = 10.0, keepalive_s: float = 75.0, max_connections: int = 512) -> AsyncIterator[int]:
    app = make_app(Settings(), None, DEMO)
    runner = ApiRunner(app, head_s=head_s, keepalive_s=keepalive_s, max_connections=max_connections, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def left_by_the_server(reader: asyncio.StreamReader) -> bytes:
    """What still came before it closed."""
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize("beginning", [b"", b"GET /health HTTP/1.1\r\nHost: local"])
async def test_a_connection_that_sends_no_whole_head_is_closed(beginning: bytes) -> None:
    async with serving(head_s=0.05, keepalive_s=60.0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(beginning)
        assert await left_by_the_server(reader) == b""
        writer.close()


async def test_a_request_that_takes_longer_than_a_head_may_is_not_cut_off() -> None:
    async with serving(head_s=0.05, keepalive_s=0.4) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /order HTTP/1.1\r\nHost: localhost\r\n")
        writer.write(b"Content-Type: application/json\r\nContent-Length: 12\r\n\r\n")
        other, strange = await asyncio.open_connection("127.0.0.1", port)
        assert await left_by_the_server(other) == b""  # so that the time of a head is over
        writer.write(b'{"name":"x"}')
        assert b" 200 OK" in await left_by_the_server(reader)  # and closed when it is idle for too long
        writer.close()
        strange.close()


async def test_beyond_the_most_connections_a_new_one_is_closed_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(max_connections=2) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, writer in held:
            writer.write(HEALTH)
            assert b" 200 OK" in await reader.readuntil(b"}")
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEALTH)
            assert await left_by_the_server(reader) == b""
            writer.close()
        held[0][1].write(HEALTH)
        assert b" 200 OK" in await held[0][0].readuntil(b"}")
        for _, writer in held:
            writer.close()
    assert caplog.text.count("2 connections are open") == 1


def test_asyncio_may_say_once_a_minute_that_it_cannot_accept() -> None:
    times = iter((0.0, 1.0, 59.0, 60.5))
    flood = AcceptFailures(lambda: next(times))
    record = logging.LogRecord("asyncio", logging.ERROR, "", 0, "socket.accept() out of system resource\nsocket: …", (), None)
    other = logging.LogRecord("asyncio", logging.ERROR, "", 0, "Task exception was never retrieved", (), None)
    assert [flood.filter(record) for _ in range(4)] == [True, False, False, True]
    assert flood.filter(other)
