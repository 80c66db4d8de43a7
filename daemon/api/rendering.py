"""Values to JSON responses."""

import json
from collections.abc import Mapping

import orjson
from aiohttp import web

HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """*value* as JSON. What orjson refuses (a path that is not UTF-8, in a message) is rendered with replacement characters."""
    try:
        body = orjson.dumps(value)
    except TypeError:
        body = json.dumps(value, default=str, ensure_ascii=False).encode("utf-8", "replace")
    return web.Response(body=body, status=status, content_type="application/json", headers={**HEADERS, **(headers or {})})
