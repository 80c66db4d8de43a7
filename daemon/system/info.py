"""The answer of GET /system/info, put together. CPU and memory are this machine's, or the container's where it has less."""

import asyncio
import os
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from daemon.system.gpu import GpuMonitor
from daemon.system.probe import TrainerProbe

_CGROUP = Path("/sys/fs/cgroup")


class Memory(NamedTuple):
    """Bytes."""

    total: int
    available: int


def read_memory(cgroup: Path = _CGROUP) -> Memory:
    """Host memory, within the limit of the container if there is one.

    Only the root of our cgroup namespace is asked, which has a limit in a container alone: the limit of the daemon's own unit says
    nothing of what a training may take, since that runs in a unit of its own.
    """
    host = psutil.virtual_memory()
    total, available = int(host.total), int(host.available)
    for limit_file, used_file, cache_key in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, used = _read_number(cgroup / limit_file), _read_number(cgroup / used_file)
        if limit is not None and used is not None and limit < total:
            cache = _read_statistic((cgroup / limit_file).with_name("memory.stat"), cache_key)
            return Memory(limit, max(0, min(available, limit - max(0, used - cache))))
    return Memory(total, available)


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # ValueError: the word "max"
        return None


def _read_statistic(path: Path, key: str) -> int:
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
    except (OSError, ValueError):
        pass
    return 0


class SystemInfo:
    """Asks everyone, and waits for none longer than the GPU monitor's deadline; the first question of all waits for torch."""

    def __init__(self, gpus: GpuMonitor, probe: TrainerProbe) -> None:
        self._gpus = gpus
        self._probe = probe

    async def read(self, *, wait: bool = True) -> dict[str, Any]:
        """The seed's fields, and on top `gpus_stale` (the driver hangs, these are the last known GPUs) and `trainer_error`.

        *wait* is that of `TrainerProbe.get`. `cpu_count` is the CPUs that this process may run on.
        """
        snapshot, facts, memory = await asyncio.gather(self._gpus.read(), self._probe.get(wait=wait), asyncio.to_thread(read_memory))
        return {
            "gpus": [gpu.to_json() for gpu in snapshot.gpus],
            "gpus_stale": snapshot.stale,
            "cpu_count": len(os.sched_getaffinity(0)),
            "memory_total": memory.total,
            "memory_available": memory.available,
            "python_version": facts.python_version,
            "torch_version": facts.torch_version,
            "cuda_available": facts.cuda_available,
            "cuda_version": facts.cuda_version,
            "trainer_error": facts.error,
        }
