"""`/system`: this machine, the trainer's Python, and what can be trained."""

import asyncio

from daemon.api.keys import CATALOG, SETTINGS, SYSTEM
from daemon.api.models.common import NoBody, NoQuery
from daemon.api.models.system import ModelInfo, ModelList, SystemInfo, TrainerInfo
from daemon.api.registry import Call, Route
from daemon.system.models import list_models


async def info(call: Call[NoBody, NoQuery]) -> SystemInfo:
    read, described = await asyncio.gather(call[SYSTEM].read(), call[CATALOG].look())
    return SystemInfo.model_validate({**read, "trainer": TrainerInfo.of(described)})


async def models(call: Call[NoBody, NoQuery]) -> ModelList:
    described = await call[CATALOG].look()
    found = await asyncio.to_thread(list_models, call[SETTINGS].now.onetrainer.home)
    models = [ModelInfo.of(entry, described.by_model_type.get(entry.type, {})) for entry in found]
    return ModelList(models=models, count=len(models))


ROUTES = [
    Route("GET", "/system/info", info, "GPUs, CPU, memory, Python and torch", "system", seed=True, role="viewer"),
    Route("GET", "/system/models", models, "What can be trained", "system", seed=True, role="viewer"),
]
