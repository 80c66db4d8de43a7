"""`/system`. Bytes, percent, °C, W."""

from daemon.api.models.common import ResponseModel


class GpuInfo(ResponseModel):
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


class SystemInfo(ResponseModel):
    """Python and torch are the trainer's."""

    gpus: list[GpuInfo]
    cpu_count: int
    memory_total: int
    memory_available: int
    python_version: str
    torch_version: str
    cuda_available: bool
    cuda_version: str | None = None


class ModelInfo(ResponseModel):
    name: str
    type: str
    path: str | None = None
    source: str
    description: str | None = None


class ModelList(ResponseModel):
    models: list[ModelInfo]
    count: int
