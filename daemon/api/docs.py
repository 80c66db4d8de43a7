"""`/docs`: Swagger UI from this server, without a CDN. The page and its files need no token; what they show of the API does."""

import asyncio
import functools
import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from aiohttp import web

from daemon.api.models.common import NoBody, NoQuery
from daemon.api.registry import Call, Route
from daemon.errors import NotFoundError, UnsupportedError

_PACKAGE = "mkdocs-swagger-ui-tag"
"""Ships Swagger UI 5 as it is published, with its licence. Its own code is never imported."""
_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
_HEADERS = {
    # Scripts and styles come from here alone, and none stands in the page; the images are those inside Swagger UI's stylesheet.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the page, as it is and packed: over a tunnel, 1.5 MB or a third of it is a difference."""

    body: bytes
    packed: bytes
    etag: str
    content_type: str


def _of_swagger_ui(name: str) -> Path:
    try:
        found = [file for file in metadata.files(_PACKAGE) or () if file.name == name]
    except metadata.PackageNotFoundError:
        found = []
    if not found:
        raise UnsupportedError(
            f"Swagger UI is not installed here: pip install {_PACKAGE}; GET /openapi.json is the document that it draws",
            code="no_swagger_ui",
        )
    return Path(str(found[0].locate()))


def _of_our_own(name: str) -> Path:
    return Path(__file__).parent / "docs_page" / name


_FILES: dict[str, Callable[[str], Path]] = {
    "swagger-ui.css": _of_swagger_ui,
    "swagger-ui-bundle.js": _of_swagger_ui,
    "page.js": _of_our_own,
    "page.css": _of_our_own,
    "index.html": _of_our_own,
}


@functools.cache
def _read(name: str) -> _File:
    """Raises NotFoundError or UnsupportedError; what is found is kept, 2 MB in all."""
    if name not in _FILES:
        raise NotFoundError(f"the page has no file {name[:100]!r}; it begins at GET /docs", code="no_file")
    path = _FILES[name](name)
    body = path.read_bytes()
    return _File(body, gzip.compress(body, mtime=0), f'"{hashlib.sha256(body).hexdigest()[:32]}"', _TYPES[path.suffix])


async def _serve(request: web.Request, name: str) -> web.Response:
    file = await asyncio.to_thread(_read, name)
    headers = {**_HEADERS, "ETag": file.etag, "Content-Type": file.content_type}
    if request.headers.get("If-None-Match") == file.etag:
        return web.Response(status=304, headers=headers)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=file.packed, headers={**headers, "Content-Encoding": "gzip"})
    return web.Response(body=file.body, headers=headers)


async def page(call: Call[NoBody, NoQuery]) -> web.Response:
    return await _serve(call.request, "index.html")


async def file(call: Call[NoBody, NoQuery]) -> web.Response:
    return await _serve(call.request, call.path["name"])


ROUTES = [
    Route("GET", "/docs", page, "This API, to read and to try: Swagger UI", "meta", public=True, role="viewer", media_type="text/html"),
    Route(
        "GET", "/docs/{name}", file, "A script or stylesheet of that page", "meta",
        errors=(NotFoundError, UnsupportedError), public=True, role="viewer", media_type="text/javascript",
    ),
]  # fmt: skip
