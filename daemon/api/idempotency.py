"""The Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header): a request sent twice begins one run."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from daemon.api.keys import ONCE
from daemon.api.registry import Call, route_of
from daemon.errors import InvalidError
from daemon.supervisor.live import LiveRun
from daemon.supervisor.once import Ticket

_HEADER = "Idempotency-Key"
_KEY = re.compile(r"[!-~]{1,255}")

Make = Callable[[Mapping[str, str] | None], Awaitable[LiveRun]]


async def once(call: Call[Any, Any], make: Make) -> LiveRun:
    """The run that the request of *call* begins by *make*, or has begun when it came before with the same key.

    *make* is given what run.json is to hold of the key.

    Raises:
        InvalidError: the key is not 1 to 255 visible ASCII characters, or there are several (code `bad_idempotency_key`).
        ConflictError: the key came with another request before (code `idempotency_mismatch`).
    """
    run = await _once(call, make)
    call.concerns(run.run_id)
    return run


async def _once(call: Call[Any, Any], make: Make) -> LiveRun:
    given = call.request.headers.getall(_HEADER, [])
    if not given:
        return await make(None)
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise InvalidError(f"{_HEADER}: {given[0][:100]!r} is not one key of 1 to 255 visible ASCII characters", code="bad_idempotency_key")
    route = route_of(call.request)
    ticket = Ticket.of(given[0], route.path if route else "", call.body.model_dump(mode="json"))
    run, is_replayed = await call[ONCE].order(ticket, lambda: make(ticket.to_json()))
    if is_replayed:
        call.headers["Idempotency-Replayed"] = "true"
    return run
