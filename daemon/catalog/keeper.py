"""Keeps what the trainer tells of itself: from an earlier daemon's file at once, and asked anew in the background when it has changed."""

import asyncio
import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

from daemon.catalog import asking
from daemon.catalog.asking import Asked
from daemon.catalog.fingerprint import fingerprint_of
from daemon.config.defaults import Schema
from daemon.config.described import Described
from daemon.data import data_folder
from daemon.errors import UnavailableError
from ipc.atomic import replace_file

log = logging.getLogger(__name__)

_LOOK_S: Final = 2.0
_LOOK_UNASKED_S: Final = 60.0
_RETRY_S: Final = 60.0
_MAX_FILE_BYTES: Final = 16 << 20


class Catalog:
    """What is known of one trainer. An async context manager: leaving it ends a question in progress."""

    def __init__(self, asked: Asked, cache_file: Path, *, deadline_s: float = 180.0) -> None:
        """*cache_file* lies in the state directory; it may be missing, thrown away or unreadable. The built-in trainer is never asked."""
        self._asked = asked
        self._cache_file = cache_file
        self._deadline_s = deadline_s
        self._described = Described(asked.backend, problem="it is being asked, which takes some seconds")
        self._fingerprint: list[Any] | None = None
        self._looked_at = self._retry_at = float("-inf")
        self._question: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._asked.backend == "builtin":
            self._described = await asyncio.to_thread(builtin)
        else:
            await asyncio.to_thread(self._load)
            self._watch = asyncio.create_task(self._look_again_and_again(), name="look for changes of the checkout")
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (self._watch, self._question):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    def now(self) -> Described:
        """What is known; from any thread, without waiting."""
        return self._described

    def schema(self) -> Schema:
        """Of what is known; from any thread, without waiting."""
        return self._described.schema

    async def look(self, wait_s: float = 0.0) -> Described:
        """What is known, after a look whether it still holds: if not, it is asked anew, and *wait_s* is how long to wait for the first
        description of all. An older one is given meanwhile.
        """
        if self._asked.backend != "builtin" and time.monotonic() - self._looked_at >= _LOOK_S:
            self._looked_at = time.monotonic()
            fingerprint = await self.fingerprint()
            if fingerprint != self._fingerprint and self._question is None and time.monotonic() >= self._retry_at:
                self._question = asyncio.create_task(self._ask(fingerprint), name="ask the trainer for its catalog")
        if not self._described.is_known and self._question is not None and wait_s > 0:
            await asyncio.wait([self._question], timeout=wait_s)
        return self._described

    async def fingerprint(self) -> list[Any]:
        return await asyncio.to_thread(fingerprint_of, self._asked.cwd, self._asked.python, self._asked.archive)

    async def _look_again_and_again(self) -> None:
        while True:
            try:
                await self.look()
            except OSError as error:
                log.warning("the checkout %s cannot be looked at: %s", self._asked.cwd, error)
            await asyncio.sleep(_LOOK_UNASKED_S)

    async def _ask(self, fingerprint: list[Any]) -> None:
        try:
            described = await asking.describe(self._asked, self._deadline_s)
            self._described, self._fingerprint = described, fingerprint
            await asyncio.to_thread(self._save, fingerprint, described)
        except UnavailableError as error:
            log.warning("the trainer does not describe its configs, so that their values are not judged: %s", error.message)
            self._described = replace(self._described, problem=error.message)
            self._retry_at = time.monotonic() + _RETRY_S
        finally:
            self._question = None

    def _load(self) -> None:
        try:
            if self._cache_file.stat().st_size > _MAX_FILE_BYTES:
                return
            kept = json.loads(self._cache_file.read_bytes())
            described = Described.from_json(kept["catalog"])
            if described.backend == self._asked.backend:
                self._described, self._fingerprint = described, list(kept["fingerprint"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s cannot be used, the trainer is asked anew: %s: %s", self._cache_file, type(error).__name__, error)

    def _save(self, fingerprint: list[Any], described: Described) -> None:
        try:
            replace_file(self._cache_file, json.dumps({"fingerprint": fingerprint, "catalog": described.to_json()}).encode(), 0o600)
        except (OSError, ValueError) as error:
            log.warning("%s cannot be written, the next daemon will ask the trainer again: %s", self._cache_file, error)


def builtin() -> Described:
    """The built-in trainer's description, which is shipped: it has no checkout that could change."""
    return Described.from_json(json.loads((data_folder("configs") / "builtin.catalog.json").read_bytes()))
