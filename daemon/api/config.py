"""`/config`: presets, the current config, validation. Disks may hang, so everything that reads one is in a thread."""

import asyncio
import functools
from pathlib import Path
from typing import Any

from aiohttp import web

from daemon.api.keys import CATALOG, COMPARER, CURRENT, GUARD, PRESETS, ROOTS, VALIDATING
from daemon.api.models.common import NoBody, NoQuery, Success
from daemon.api.models.config import (
    ConfigChange,
    ConfigDiff,
    ConfigDifference,
    ConfigRequest,
    ConfigResponse,
    ConfigSaved,
    DiffQuery,
    PresetInfo,
    PresetList,
    PresetQuery,
    PresetReadQuery,
    SchemaQuery,
    ValidateQuery,
    ValidationResponse,
    WhichPreset,
)
from daemon.api.registry import Call, Route
from daemon.api.rendering import json_response
from daemon.catalog.narrowing import narrowed
from daemon.config.masking import masked, split
from daemon.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, UnavailableError


async def list_presets(call: Call[NoBody, PresetQuery]) -> PresetList:
    found = await asyncio.to_thread(call[PRESETS].list, await _folder(call))
    return PresetList(presets=[PresetInfo.model_validate(info) for info in found], count=len(found))


async def get_preset(call: Call[NoBody, PresetReadQuery]) -> ConfigResponse:
    query = call.query
    read = functools.partial(call[PRESETS].get, category=query.category, origin=query.origin)
    config = masked(await asyncio.to_thread(read, call.path["name"], await _folder(call)))
    return ConfigResponse(config=await asyncio.to_thread(call[COMPARER].complete, config) if query.with_defaults else config)


async def save_preset(call: Call[ConfigChange, WhichPreset]) -> ConfigSaved:
    name, which = call.path["name"], call.query.model_dump()
    saved = await asyncio.to_thread(call[PRESETS].save, name, call.body.config, partial=call.body.partial, **which)
    left_out = ", without the secrets in it" if split(call.body.config)[0] != call.body.config else ""
    return ConfigSaved(message=f"Preset {name!r} saved{left_out}", config=masked(saved))


async def delete_preset(call: Call[NoBody, WhichPreset]) -> Success:
    await asyncio.to_thread(call[PRESETS].delete, call.path["name"], **call.query.model_dump())
    return Success(message=f"Preset {call.path['name']!r} deleted")


async def get_current(call: Call[NoBody, NoQuery]) -> ConfigResponse:
    return ConfigResponse(config=await asyncio.to_thread(call[CURRENT].get))


async def put_current(call: Call[ConfigChange, NoQuery]) -> ConfigSaved:
    call[GUARD].refuse_while_training()
    saved = await asyncio.to_thread(call[CURRENT].put, call.body.config, partial=call.body.partial)
    return ConfigSaved(message="Current config updated", config=saved)


async def get_diff(call: Call[NoBody, DiffQuery]) -> ConfigDiff:
    found = await asyncio.to_thread(call[COMPARER].compare, call.query.base, call.query.config)
    changes = [ConfigDifference.model_validate(one) for one in found]
    return ConfigDiff(base=call.query.base, config=call.query.config, changes=changes, count=len(changes))


async def validate(call: Call[ConfigRequest, ValidateQuery]) -> ValidationResponse:
    return ValidationResponse.model_validate(await call[VALIDATING].validate(call.body.config, is_deep=call.query.deep))


async def get_schema(call: Call[NoBody, SchemaQuery]) -> web.StreamResponse:
    described = await call[CATALOG].look(wait_s=_SCHEMA_WAIT_S)
    if not described.is_known:
        raise UnavailableError(f"the trainer has not described its configs: {described.problem}", code="no_catalog")
    return json_response(narrowed(described, call.query.model_type, call.query.training_method))


async def _folder(call: Call[NoBody, Any]) -> Path | None:
    return await asyncio.to_thread(call[ROOTS].resolve, call.query.config_dir, "config_dir") if call.query.config_dir else None


_SCHEMA_WAIT_S = 60.0
_NAME_ERRORS = (InvalidError, NotFoundError, ConflictError, UnavailableError)

ROUTES = [
    Route(
        "GET", "/config/presets", list_presets, "All presets", "config",
        errors=(InvalidError, NotFoundError, ForbiddenError), seed=True, role="viewer",
    ),
    Route(
        "GET", "/config/presets/{name}", get_preset, "The config of a preset", "config",
        errors=(InvalidError, NotFoundError, ForbiddenError), seed=True, role="viewer",
    ),
    Route("POST", "/config/presets/{name}", save_preset, "Save a preset", "config", errors=_NAME_ERRORS, seed=True),
    Route("DELETE", "/config/presets/{name}", delete_preset, "Delete a preset", "config", errors=_NAME_ERRORS, seed=True),
    Route("GET", "/config/current", get_current, "What a plain start runs", "config", errors=(NotFoundError,), seed=True, role="viewer"),
    Route("PUT", "/config/current", put_current, "Change it", "config", errors=(ConflictError, UnavailableError), seed=True),
    Route(
        "GET", "/config/diff", get_diff, "What two configs do differently", "config",
        errors=(InvalidError, NotFoundError, ForbiddenError), role="viewer",
    ),
    Route(
        "POST", "/config/validate", validate, "Whether a config could start", "config", errors=(UnavailableError,), seed=True,
        role="viewer",
    ),
    Route(
        "GET", "/config/schema", get_schema, "The JSON Schema of the trainer's config", "config",
        errors=(InvalidError, UnavailableError), role="viewer", media_type="application/json",
    ),
]  # fmt: skip
