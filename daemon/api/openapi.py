"""The OpenAPI 3.1 document, made from the table of routes."""

import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from daemon.api.models.common import NoBody, NoQuery, ProblemBody
from daemon.api.problems import TYPES, status_of
from daemon.api.registry import Call, Route, routes_of
from daemon.api.rendering import json_response

_REFERENCE = "#/components/schemas/{model}"
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key", "in": "header", "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "description": "The same request with the same key is answered with the run that it began the first time, "
    "and `Idempotency-Replayed: true`; another request with it is a 409 (`idempotency_mismatch`).",
}  # fmt: skip
_SECURITY = {
    "token": {
        "type": "http", "scheme": "bearer",
        "description": "`onetrainerd token` prints the first one, an admin's; `onetrainerd token create` makes others. An operation names "
        "the role that it needs: `viewer` (reads, streams, samples) or `admin`, who may do that too. Not asked for with `--auth none`.",
    },
    "subprotocol": {
        "type": "apiKey", "in": "header", "name": "Sec-WebSocket-Protocol",
        "description": "For browsers, which cannot set headers on a WebSocket: `onetrainerd, onetrainerd.token.<token>`.",
    },
}  # fmt: skip
_PARAMETER = re.compile(r"\{(\w+)(?::[^}]*)?\}")


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The document for *routes*."""
    bodies = {route.body for route in routes if route.body is not NoBody}
    responses: set[type[BaseModel]] = {ProblemBody}
    responses |= {route.response for route in routes if issubclass(route.response, BaseModel)}
    responses |= {route.json_model for route in routes if route.json_model}
    pairs: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in sorted(bodies, key=_name)]
    pairs += [(model, "serialization") for model in sorted(responses, key=_name)]
    references, definitions = models_json_schema(pairs, ref_template=_REFERENCE)
    queries = {route.query: route.query.model_json_schema(ref_template=_REFERENCE) for route in routes}
    schemas = {**definitions.get("$defs", {}), **{name: one for query in queries.values() for name, one in query.get("$defs", {}).items()}}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = _PARAMETER.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, references, queries[route.query])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "onetrainerd",
            "version": _version(),
            "description": "A headless server for OneTrainer. Errors have one form everywhere: `ProblemBody`.",
        },
        "servers": [{"url": "/"}, {"url": "/api", "description": "Serves the routes of the seed API (`x-seed: true`) as well."}],
        "security": [{"token": ["admin"]}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {name: _problem(name) for name in TYPES.values()},
            "securitySchemes": _SECURITY,
        },
    }


def _operation(route: Route, references: Mapping[Any, Any], query: Mapping[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.tag}_{route.handler.__name__}",
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [*_path_parameters(route), *_query_parameters(query), *([_IDEMPOTENCY_KEY] if route.is_once else [])],
        "responses": {str(_status(route)): _answer(route, references)},
        "x-seed": route.seed,
        "x-role": route.role,
    }
    if route.body is not NoBody:
        schema = references[route.body, "validation"]
        operation["requestBody"] = {"required": not _may_be_empty(route.body), "content": {"application/json": {"schema": schema}}}
    operation["security"] = _security(route)
    for status in _error_statuses(route):
        operation["responses"][str(status)] = {"$ref": f"#/components/responses/{TYPES[status]}"}
    return operation


def _security(route: Route) -> list[dict[str, list[str]]]:
    """OpenAPI 3.1: for such schemes the array names the roles that are needed."""
    if route.public:
        return []
    is_socket = issubclass(route.response, web.WebSocketResponse)
    return [{scheme: [route.role]} for scheme in ("token", *(["subprotocol"] if is_socket else []))]


def _may_be_empty(body: type[BaseModel]) -> bool:
    try:
        body.model_validate({})
    except ValidationError:
        return False
    return True


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    names = _PARAMETER.findall(route.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names]


def _query_parameters(query: Mapping[str, Any]) -> list[dict[str, Any]]:
    required = query.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": {key: value for key, value in schema.items() if key != "description"},
            **({"description": schema["description"]} if "description" in schema else {}),
        }
        for name, schema in query.get("properties", {}).items()
    ]


def _status(route: Route) -> int:
    return 101 if issubclass(route.response, web.WebSocketResponse) else route.status


def _answer(route: Route, references: Mapping[Any, Any]) -> dict[str, Any]:
    if issubclass(route.response, web.WebSocketResponse):
        return {"description": "A WebSocket."}
    if issubclass(route.response, BaseModel):
        return {"description": "Done.", "content": {"application/json": {"schema": references[route.response, "serialization"]}}}
    content: dict[str, Any] = {route.media_type: {}}
    if route.json_model:
        content["application/json"] = {"schema": references[route.json_model, "serialization"]}
    return {"description": "The content.", "content": content}


def _error_statuses(route: Route) -> list[int]:
    statuses = {403, 415, 500, *(status_of(error) for error in route.errors)}
    if not route.public:
        statuses |= {401, 429}
    if route.body is not NoBody:
        statuses |= {400, 413}
    if route.query is not NoQuery:
        statuses.add(400)
    return sorted(statuses)


def _problem(name: str) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": name,
        "content": {"application/json": {"schema": {"$ref": _REFERENCE.format(model=ProblemBody.__name__)}}},
    }
    if name == "Unauthorized":
        response["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    if name == "TooManyRequests":
        response["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}}
    return response


def _name(model: type) -> str:
    return f"{model.__module__}.{model.__qualname__}"


def _version() -> str:
    try:
        return metadata.version("onetrainerd")
    except metadata.PackageNotFoundError:
        return "0"


async def openapi(call: Call[NoBody, NoQuery]) -> web.Response:
    return json_response(document(routes_of(call.request.app)))


ROUTES = [Route("GET", "/openapi.json", openapi, "This document", "meta", role="viewer", media_type="application/json")]
