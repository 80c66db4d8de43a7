"""The services of /config, /samples and /system over a real folder, and a server that has them."""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from daemon.api import config, samples, system
from daemon.api.frame import make_app
from daemon.api.keys import CATALOG, COMPARER, CURRENT, GUARD, PRESETS, ROOTS, SAMPLES, SYSTEM, THUMBNAILS, VALIDATING
from daemon.catalog.asking import Asked
from daemon.catalog.deep import DeepReader
from daemon.catalog.keeper import Catalog
from daemon.catalog.validating import Validating
from daemon.config.comparing import Comparer
from daemon.config.current import CurrentConfig
from daemon.config.described import Described
from daemon.config.presets import Presets
from daemon.config.validation import Validator
from daemon.errors import ConflictError
from daemon.paths import Roots
from daemon.samples.index import page_of_folder
from daemon.samples.selection import ALL, Page, Place, Wanted
from daemon.samples.thumbnails import Thumbnails
from daemon.settings.model import Settings
from daemon.system.info import SystemInfo
from tests.api_frame.conftest import Serve, Server, book_of


class Book:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def samples(self, limit: int, wanted: Wanted = ALL, before: Place | None = None) -> Page:
        return page_of_folder(self.folder, limit, wanted, before)

    def sample_folders(self) -> list[Path]:
        return [self.folder]


class Guard:
    training = False

    def refuse_while_training(self) -> None:
        if self.training:
            raise ConflictError("a training is under way", code="run_active")


class Machine:
    async def read(self) -> dict[str, Any]:
        gpu = {"index": 0, "name": "GPU", "memory_total": 1, "memory_allocated": 1, "memory_reserved": 1, "memory_free": 0}
        return {
            "gpus": [gpu], "cpu_count": 2, "memory_total": 1, "memory_available": 1, "python_version": "3.11",
            "torch_version": "not installed", "cuda_available": False, "cuda_version": None,
        }  # fmt: skip


async def with_services(serve: Serve, tmp_path: Path, guard: Guard) -> Server:
    """A server whose services are real, over the folder *tmp_path*."""
    for name in ("builtin", "samples/0 - a digit"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "builtin/digits.json").write_text('{"epochs": 2}')
    roots = Roots([tmp_path], tmp_path)
    app = make_app(Settings(state_dir=tmp_path), book_of(tmp_path), [*config.ROUTES, *samples.ROUTES, *system.ROUTES])
    app[ROOTS] = roots
    app[PRESETS] = Presets(tmp_path / "presets", tmp_path / "builtin")
    app[CURRENT] = CurrentConfig(tmp_path / "current.json")
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"epochs": {"type": "integer", "default": 1}},
    }
    described = Described("builtin", schema)
    asked = Asked("builtin", Path(sys.executable), tmp_path, tmp_path / "no archive")
    catalog = Catalog(asked, tmp_path / "catalog.json")
    app[CATALOG] = catalog
    app[VALIDATING] = Validating(catalog, Validator(lambda: described, roots), DeepReader(asked, catalog), roots)
    app[COMPARER] = Comparer(lambda: schema, app[CURRENT], app[PRESETS])
    app[SAMPLES] = Book(tmp_path / "samples")
    app[THUMBNAILS] = thumbnails = Thumbnails(tmp_path / "thumbnails")
    app.on_cleanup.append(lambda _: asyncio.to_thread(thumbnails.close))
    app[GUARD] = guard
    app[SYSTEM] = cast("SystemInfo", Machine())
    return await serve(app=app)


async def ask(server: Server, method: str, path: str, **options: Any) -> SimpleNamespace:
    async with server.call(method, path, **options) as response:
        return SimpleNamespace(status=response.status, json=await response.json(), headers=response.headers)
