"""The answer of /system/info, and memory within a container's limit."""

import os
from pathlib import Path

import psutil

from daemon.system.gpu import GpuMonitor, GpuReading
from daemon.system.info import SystemInfo, read_memory
from daemon.system.probe import TrainerProbe

SEED_FIELDS = {"gpus", "cpu_count", "memory_total", "memory_available", "python_version", "torch_version", "cuda_available", "cuda_version"}
SEED_GPU_FIELDS = {
    "index", "name", "memory_total", "memory_allocated", "memory_reserved", "memory_free", "utilization", "temperature", "fan_speed",
    "power_draw", "power_limit",
}  # fmt: skip


async def test_the_answer_has_every_field_of_the_seed(tmp_path: Path) -> None:
    async with (
        GpuMonitor(lambda: [GpuReading(0, "gpu", 4, 1, 1, 2)], deadline_s=20) as gpus,
        TrainerProbe(tmp_path / "none", tmp_path / "c") as probe,
    ):
        answer = await SystemInfo(gpus, probe).read()
    assert answer.keys() >= SEED_FIELDS
    assert answer["gpus"][0].keys() >= SEED_GPU_FIELDS
    assert answer["torch_version"] == "not installed"
    assert 0 < answer["memory_available"] <= answer["memory_total"]
    assert answer["cpu_count"] == len(os.sched_getaffinity(0))
    assert answer["gpus_stale"] is False


def test_without_a_limit_memory_is_the_hosts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5\n")
    assert read_memory(tmp_path).total == psutil.virtual_memory().total


def test_a_containers_limit_counts_its_file_cache_as_available(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\ninactive_file 200000\n")
    assert read_memory(tmp_path) == (1000000, 500000)


def test_the_limit_of_an_old_container_counts_too(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("1000000\n")
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text("1200000\n")
    assert read_memory(tmp_path) == (1000000, 0)
