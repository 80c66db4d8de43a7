"""`/system`. Bytes, percent, °C, W."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field

from daemon.api.models.common import ResponseModel
from daemon.config.described import Described
from daemon.system.models import ModelEntry


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


class TrainerInfo(ResponseModel):
    """What the trainer tells of itself; null where it does not, or has not been asked yet."""

    backend: str
    config_version: int
    commit: str | None
    commit_date: str | None
    is_modified: bool | None
    missing: list[str] = Field(description="What this version of OneTrainer does not tell.")
    problem: str | None = Field(description="Why it could not be asked.")

    @classmethod
    def of(cls, described: Described) -> Self:
        facts = {name: described.facts.get(name) for name in ("commit", "commit_date", "is_modified")}
        return cls(
            backend=described.backend, config_version=described.config_version, missing=list(described.missing),
            problem=described.problem, **facts,
        )  # fmt: skip


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
    trainer: TrainerInfo


class ModelInfo(ResponseModel):
    name: str
    type: str
    path: str | None = None
    source: str
    description: str | None = None
    training_methods: list[str] | None = Field(None, description="As far as the checkout tells.")
    parts: list[str] | None = Field(None, description="Keys of the config, its diffusion model first.")
    output_formats: dict[str, list[str]] | None = Field(None, description="Training method to what it can write.")

    @classmethod
    def of(cls, entry: ModelEntry, told: Mapping[str, Any]) -> Self:
        return cls.model_validate({**told, **entry.to_json()})


class ModelList(ResponseModel):
    models: list[ModelInfo]
    count: int
