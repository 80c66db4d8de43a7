"""`/system`: this machine, the trainer's Python, and what can be trained."""

import asyncio

from daemon.api.keys import SETTINGS, SYSTEM
from daemon.api.models.common import NoBody, NoQuery
from daemon.api.models.system import ModelInfo, ModelList, SystemInfo
from daemon.api.registry import Call, Route
from daemon.system.models import list_models


async def info(call: Call[NoBody, NoQuery]) -> SystemInfo:
    return SystemInfo.model_validate(await call[SYSTEM].read())


async def models(call: Call[NoBody, NoQuery]) -> ModelList:
    found = await asyncio.to_thread(list_models, call[SETTINGS].now.onetrainer.home)
    return ModelList(models=[ModelInfo.model_validate(entry) for entry in found], count=len(found))


ROUTES = [
    Route("GET", "/system/info", info, "GPUs, CPU, memory, Python and torch", "system", seed=True, role="viewer"),
    Route("GET", "/system/models", models, "What can be trained", "system", seed=True, role="viewer"),
]
