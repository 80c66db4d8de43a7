"""Validation as a client asks for it: the lists in files read first, then fast by the catalog, or in depth by the trainer's own code."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from daemon.catalog.deep import DeepReader
from daemon.catalog.keeper import Catalog
from daemon.config.inlining import inline_lists
from daemon.config.masking import masked, visible
from daemon.config.validation import Validation, Validator
from daemon.errors import DaemonError
from daemon.paths import Roots


class Validating:
    def __init__(self, catalog: Catalog, validator: Validator, reader: DeepReader, roots: Roots) -> None:
        self._catalog = catalog
        self._validator = validator
        self._reader = reader
        self._roots = roots

    async def validate(self, config: Mapping[str, Any], *, is_deep: bool) -> Validation:
        """Secrets are left out, since findings quote values.

        Raises:
            UnavailableError: in depth: the trainer's Python cannot be asked (code `no_deep_validation`).
        """
        await self._catalog.look()
        shown = visible(config)
        whole = await asyncio.to_thread(self._with_lists, shown)
        if not is_deep:
            return await asyncio.to_thread(self._validator.validate, whole)
        reading = await self._reader.read(whole)
        found = await asyncio.to_thread(self._validator.validate_reading, whole, reading)
        return replace(found, config=masked(found.config)) if found.config is not None else found

    def _with_lists(self, config: dict[str, Any]) -> dict[str, Any]:
        """A list that cannot be read is left where it is: validation itself says what is wrong with its file."""
        try:
            return inline_lists(config, self._roots)
        except DaemonError:
            return config
