"""One run per Idempotency-Key: a client that asks again, since it heard no answer, gets the run that it asked for.

The key is kept in the run's own run.json, so that it is there if and only if the run is, whatever daemon answers.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from daemon.errors import ConflictError
from daemon.supervisor.live import LiveRun


@dataclass(frozen=True)
class Ticket:
    """What an order is known by again: hashes of its key, and of what it asks for."""

    key: str
    body: str

    @classmethod
    def of(cls, key: str, kind: str, body: Mapping[str, Any]) -> Self:
        """*kind* tells orders of different calls apart; the order of *body*'s keys makes no difference."""
        return cls(_hash(key), _hash(json.dumps([kind, body], sort_keys=True)))

    def to_json(self) -> dict[str, str]:
        return asdict(self)


class Once:
    """Carries out each ticket once, also when it comes several times at the same moment."""

    def __init__(self, runs: Callable[[], Iterable[LiveRun]]) -> None:
        self._runs = runs
        self._at_work: dict[str, tuple[asyncio.Lock, int]] = {}

    async def order(self, ticket: Ticket, make: Callable[[], Awaitable[LiveRun]]) -> tuple[LiveRun, bool]:
        """The run of *ticket*, and whether it was there before; else what *make* makes, which puts the ticket into its run.json.

        An order that failed without a run leaves the key unused.

        Raises:
            ConflictError: the key came with another order before (code `idempotency_mismatch`).
        """
        async with self._alone(ticket.key):
            known = self._find(ticket)
            return (known, True) if known else (await make(), False)

    def _find(self, ticket: Ticket) -> LiveRun | None:
        for run in self._runs():
            noted = run.stored.meta.get("idempotency")
            if not isinstance(noted, dict) or noted.get("key") != ticket.key:
                continue
            if noted.get("body") != ticket.body:
                raise ConflictError(
                    f"this Idempotency-Key came with another request before, which began run {run.run_id}; use a new key for a new request",
                    code="idempotency_mismatch", run_id=run.run_id,
                )  # fmt: skip
            return run
        return None

    @contextlib.asynccontextmanager
    async def _alone(self, key: str) -> AsyncIterator[None]:
        lock, users = self._at_work.get(key, (asyncio.Lock(), 0))
        self._at_work[key] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._at_work.pop(key)
            if users > 1:
                self._at_work[key] = lock, users - 1


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
