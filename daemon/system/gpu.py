"""GPUs as the driver tells of them, by NVML and without torch: no CUDA context, no memory taken.

Memory is that of the whole device, whoever uses it: `memory_allocated` is what NVML calls used, `memory_reserved` what the
driver and firmware keep for themselves (NVML's second memory structure; 0 from older drivers, which count it as used).
"""

import asyncio
import importlib
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

log = logging.getLogger(__name__)

_DEADLINE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One GPU now: bytes, percent, degrees Celsius, watts. None is what the device does not tell; for memory that is 0."""

    index: int
    name: str
    memory_total: int
    memory_allocated: int
    memory_reserved: int
    memory_free: int
    utilization: float | None = None
    temperature: float | None = None
    fan_speed: float | None = None
    power_draw: float | None = None
    power_limit: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class GpuSnapshot:
    """The GPUs, and whether this is an old reading because the driver does not answer."""

    gpus: list[GpuReading]
    stale: bool


def read_gpus(library: Any = None) -> list[GpuReading]:
    """All GPUs that answer, in NVML's order. Blocks, for ever when the driver hangs: see `GpuMonitor`.

    *library* is the pynvml module, or what acts like it. Without a driver, a device or the library there are none; nothing raises.
    """
    try:
        nvml = library or importlib.import_module("pynvml")  # 7,000 lines, and only where somebody asks
        nvml.nvmlInit()
    except Exception as error:  # noqa: BLE001 - NVMLError is made at run time; a missing driver is the usual case
        log.debug("no NVML: %s", error)
        return []
    try:
        count = nvml.nvmlDeviceGetCount()
        return [reading for index in range(count) if (reading := _read_gpu(nvml, index)) is not None]
    except Exception as error:  # noqa: BLE001 - as above
        log.warning("the NVIDIA driver does not tell of its GPUs: %s", error)
        return []
    finally:
        _told(nvml.nvmlShutdown)


def _read_gpu(nvml: Any, index: int) -> GpuReading | None:
    handle = _told(nvml.nvmlDeviceGetHandleByIndex, index)
    if handle is None:  # fallen off the bus, or held by another container
        return None
    memory = _told(lambda: nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)) or _told(nvml.nvmlDeviceGetMemoryInfo, handle)
    name = _told(nvml.nvmlDeviceGetName, handle)
    utilization = _told(nvml.nvmlDeviceGetUtilizationRates, handle)
    return GpuReading(
        index=index,
        name=name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name or "unknown"),
        memory_total=int(getattr(memory, "total", 0)),
        memory_allocated=int(getattr(memory, "used", 0)),
        memory_reserved=int(getattr(memory, "reserved", 0)),
        memory_free=int(getattr(memory, "free", 0)),
        utilization=_number(getattr(utilization, "gpu", None)),
        temperature=_number(_told(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))),
        fan_speed=_number(_told(nvml.nvmlDeviceGetFanSpeed, handle)),
        power_draw=_number(_told(nvml.nvmlDeviceGetPowerUsage, handle), 1000),
        power_limit=_number(_told(nvml.nvmlDeviceGetEnforcedPowerLimit, handle), 1000),
    )


def _told(ask: Callable[..., Any], *args: Any) -> Any:
    """What the device answers, or None: each model leaves out something else."""
    try:
        return ask(*args)
    except Exception:  # noqa: BLE001 - NVMLError_NotSupported and its forty sisters, made at run time
        return None


def _number(value: Any, divisor: int = 1) -> float | None:
    return None if value is None else value / divisor


class GpuMonitor:
    """Reads the GPUs in one thread of its own, so that a hung driver hurts nobody else.

    Callers at the same time share one reading. While one hangs, no second is begun, and each caller gets the last known GPUs
    after the deadline. An async context manager; a thread that hangs at its end is left behind, as a daemon thread.
    """

    def __init__(self, read: Callable[[], list[GpuReading]] = read_gpus, *, deadline_s: float = _DEADLINE_S) -> None:
        self._read = read
        self._deadline_s = deadline_s
        self._last: list[GpuReading] = []
        self._asked: queue.SimpleQueue[asyncio.AbstractEventLoop | None] = queue.SimpleQueue()
        self._answer: asyncio.Future[list[GpuReading]] | None = None
        self._thread: threading.Thread | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._asked.put(None)
        self._thread = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._last)

    async def read(self) -> GpuSnapshot:
        """The GPUs now, or within the deadline the last known ones, marked stale."""
        if self._answer is None:
            self._answer = asyncio.get_running_loop().create_future()
            self._begin()
        try:
            async with asyncio.timeout(self._deadline_s):
                return GpuSnapshot(await asyncio.shield(self._answer), stale=False)
        except TimeoutError:
            return GpuSnapshot(self._last, stale=True)

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="gpu-monitor", daemon=True)
            self._thread.start()
        self._asked.put(asyncio.get_running_loop())

    def _run(self) -> None:
        while (loop := self._asked.get()) is not None:
            try:
                gpus = self._read()
            except Exception:  # the thread's outer edge: a reader that fails once must not end the readings
                log.exception("reading the GPUs failed")
                gpus = []
            try:
                loop.call_soon_threadsafe(self._finish, gpus)
            except RuntimeError:  # the loop was closed while the driver hung
                return

    def _finish(self, gpus: list[GpuReading]) -> None:
        self._last = gpus
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(gpus)
