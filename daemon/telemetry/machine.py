"""The machine: GPUs as last read, file systems as the disk guard last saw them. Asks neither a driver nor a disk while a scrape waits."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from daemon.runs.policies import DiskLevel
from daemon.supervisor.supervisor import Supervisor
from daemon.system.gpu import GpuMonitor, GpuReading
from daemon.telemetry.sheet import Sheet

_PATIENCE_S = 0.02
_LEVELS: dict[DiskLevel, int] = {"ok": 0, "low": 1, "held": 2}


class GpuCache:
    """The last reading, and a new one begun at each scrape: a driver that takes seconds, or hangs, costs the scrape 20 ms."""

    def __init__(self, monitor: GpuMonitor) -> None:
        self._monitor = monitor
        self._reading: asyncio.Task[None] | None = None
        self.gpus: list[GpuReading] = []
        self.read_at: float | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def refresh(self) -> None:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name="reading the GPUs for /metrics")
        await asyncio.wait({self._reading}, timeout=_PATIENCE_S)

    async def _read(self) -> None:
        snapshot = await self._monitor.read()
        if not snapshot.stale:
            self.gpus, self.read_at = snapshot.gpus, time.time()

    def fill(self, sheet: Sheet) -> None:
        sheet.tell("gpu_last_read_timestamp_seconds", self.read_at)
        for gpu in self.gpus:
            number = str(gpu.index)
            sheet.tell("gpu_info", 1, gpu=number, name=gpu.name)
            values = {
                "memory_size_bytes": gpu.memory_total, "memory_used_bytes": gpu.memory_allocated, "memory_free_bytes": gpu.memory_free,
                "utilization_ratio": _ratio(gpu.utilization), "temperature_celsius": gpu.temperature, "fan_ratio": _ratio(gpu.fan_speed),
                "power_watts": gpu.power_draw, "power_limit_watts": gpu.power_limit,
            }  # fmt: skip
            for name, value in values.items():
                sheet.tell(f"gpu_{name}", value, gpu=number)


def fill_disks(supervisor: Supervisor, sheet: Sheet) -> None:
    for room in supervisor.rooms:
        sheet.tell("disk_free_bytes", room.free, path=room.path)
        sheet.tell("disk_size_bytes", room.total, path=room.path)
    sheet.tell("disk_level", _LEVELS[supervisor.disk_level])


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100
