"""GPUs by way of a stand-in for the NVML library, and a monitor that a hung driver does not stop."""
# ruff: noqa: N802, N815 - the names are those of the NVML library

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from daemon.system.gpu import GpuMonitor, GpuReading, read_gpus


class NvmlError(Exception):
    """As NVML's own: of no class that is known before it comes."""


class Nvml:
    """What of pynvml is used here: a card that tells all, one that tells little, and one that has fallen off the bus."""

    nvmlMemory_v2 = 2
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *, has_driver: bool = True, has_memory_v2: bool = True) -> None:
        self.has_driver = has_driver
        self.has_memory_v2 = has_memory_v2
        self.open = 0

    def nvmlInit(self) -> None:
        if not self.has_driver:
            raise NvmlError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index == 2:
            raise NvmlError("GPU is lost")
        return index

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:
        return "NVIDIA GeForce RTX 4090" if handle == 0 else b"NVIDIA GB10"

    def nvmlDeviceGetMemoryInfo(self, handle: int, version: int | None = None) -> Any:
        if handle == 1 or (version is not None and not self.has_memory_v2):
            raise NvmlError("Not Supported")
        if version is None:
            return SimpleNamespace(total=1000, used=300, free=700)
        return SimpleNamespace(total=1000, used=250, free=700, reserved=50)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        values = {
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=97, memory=3),
            "nvmlDeviceGetTemperature": 61,
            "nvmlDeviceGetFanSpeed": 40,
            "nvmlDeviceGetPowerUsage": 312_500,
            "nvmlDeviceGetEnforcedPowerLimit": 450_000,
        }

        def ask(handle: int, *_: int) -> Any:
            if handle == 1:
                raise NvmlError("Not Supported")
            return values[name]

        return ask


def test_each_gpu_is_told_with_what_it_tells() -> None:
    library = Nvml()
    assert read_gpus(library) == [
        GpuReading(0, "NVIDIA GeForce RTX 4090", 1000, 250, 50, 700, 97, 61, 40, 312.5, 450.0),
        GpuReading(1, "NVIDIA GB10", 0, 0, 0, 0),
    ]
    assert library.open == 0


def test_an_older_driver_counts_its_reserve_as_used() -> None:
    reading = read_gpus(Nvml(has_memory_v2=False))[0]
    assert (reading.memory_allocated, reading.memory_reserved) == (300, 0)


def test_without_a_driver_there_are_no_gpus() -> None:
    assert read_gpus(Nvml(has_driver=False)) == []


def test_the_real_library_does_not_raise_whatever_this_machine_has() -> None:
    assert all(gpu.memory_total >= 0 for gpu in read_gpus())


class Reader:
    """Reads one GPU whose temperature is the number of the reading; blocks while held."""

    def __init__(self) -> None:
        self.count = 0
        self.threads: set[int] = set()
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> list[GpuReading]:
        self.count += 1
        self.threads.add(threading.get_ident())
        assert self.go.wait(60)
        return [GpuReading(0, "gpu", 1, 1, 0, 0, temperature=self.count)]


async def test_a_hung_driver_answers_the_last_reading_as_stale_with_one_thread() -> None:
    reader = Reader()
    async with GpuMonitor(reader, deadline_s=0.05) as monitor:
        try:
            first = await monitor.read()
            reader.go.clear()
            answers = await asyncio.gather(*(monitor.read() for _ in range(20)), monitor.read())
        finally:
            reader.go.set()
        assert not first.stale
        assert [(answer.stale, answer.gpus) for answer in answers] == [(True, first.gpus)] * 21
        assert reader.count == 2
        async with asyncio.timeout(20):
            while (snapshot := await monitor.read()).stale:
                pass
        assert snapshot.gpus[0].temperature is not None
        assert len(reader.threads) == 1


async def test_a_driver_that_hangs_from_the_start_has_no_gpus_yet() -> None:
    reader = Reader()
    reader.go.clear()
    async with GpuMonitor(reader, deadline_s=0.01) as monitor:
        snapshot = await monitor.read()
    reader.go.set()
    assert (snapshot.stale, snapshot.gpus) == (True, [])


async def test_callers_at_the_same_time_share_a_reading() -> None:
    reader = Reader()
    async with GpuMonitor(reader, deadline_s=20) as monitor:
        await asyncio.gather(*(monitor.read() for _ in range(10)))
    assert reader.count == 1


async def test_a_reader_that_fails_is_logged_and_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> list[GpuReading]:
        raise ValueError("broken")

    async with GpuMonitor(fail, deadline_s=20) as monitor:
        assert (await monitor.read()).gpus == []
        assert (await monitor.read()).gpus == []
    assert "broken" in caplog.text
