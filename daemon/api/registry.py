"""Routes as data: from one table come the binding of requests, the documentation and the tests of what is hostile.

A handler's annotations say what it takes and gives: `async def start(call: Call[StartRequest, NoQuery]) -> Success`.
"""

import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel

from daemon.api import binding, body
from daemon.api.callers import caller_of
from daemon.api.keys import SETTINGS
from daemon.api.models.common import FOR_ADMINS, NoBody, NoQuery, QueryModel, RequestModel
from daemon.api.rendering import json_response
from daemon.errors import DaemonError, ForbiddenError

BodyT = TypeVar("BodyT", bound=RequestModel)
QueryT = TypeVar("QueryT", bound=QueryModel)
ValueT = TypeVar("ValueT")
_PLAIN = re.compile(r"\{(\w+)\}")
"""`{name}` in a path; by itself aiohttp would not let it hold braces."""


@dataclass(frozen=True, slots=True)
class Call(Generic[BodyT, QueryT]):
    """A request, checked. `call[KEY]` is the service under that key."""

    request: web.Request
    body: BodyT
    query: QueryT
    path: Mapping[str, str]
    """The parameters in the path, decoded; a value may be anything but empty, a `/` included."""
    headers: dict[str, str] = field(default_factory=dict)
    """For the answer, where it is a model."""

    def __getitem__(self, key: web.AppKey[ValueT]) -> ValueT:
        return self.request.app[key]

    @property
    def is_admin(self) -> bool:
        """Whether the caller may do everything."""
        caller = caller_of(self.request)
        return caller is not None and caller.role == "admin"

    def concerns(self, run_id: str) -> None:
        """Note for the audit log which run this is about, where its id is not in the path."""
        self.request[_CONCERNS] = run_id


_CONCERNS: web.RequestKey[str] = web.RequestKey("concerned run", str)


def concerned_run(request: web.Request) -> str | None:
    """The id of the run that *request* is about, as far as it is known."""
    return request.get(_CONCERNS) or request.match_info.get("run_id")


Handler = Callable[[Call[Any, Any]], Awaitable[BaseModel | web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    handler: Handler
    summary: str
    tag: str
    errors: tuple[type[DaemonError], ...] = ()
    """What it may answer besides the errors of every route."""
    status: int = 200
    public: bool = False
    """Needs no token."""
    seed: bool = False
    """Of the seed API: served at `/api/…` too."""
    role: Literal["viewer", "admin"] = "admin"
    media_type: str = "application/octet-stream"
    """What a handler that returns a response of its own sends."""
    is_stream: bool = False
    """Its answer stays open, or is gigabytes: it counts among `limits.streams`, and ends with its token."""
    json_model: type[BaseModel] | None = None
    """Describes the JSON that such a handler may send as well."""
    is_once: bool = False
    """Takes an Idempotency-Key: see `idempotency`."""
    body: type[RequestModel] = field(init=False)
    query: type[QueryModel] = field(init=False)
    response: type[BaseModel] | type[web.StreamResponse] = field(init=False)

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(self.handler)
        returned = hints.pop("return", None)
        [call] = hints.values()
        takes_body, takes_query = typing.get_args(call)
        if not inspect.isclass(returned) or not issubclass(returned, BaseModel | web.StreamResponse):
            raise TypeError(f"{self.handler!r} must return a model or a response, not {returned!r}")
        object.__setattr__(self, "body", takes_body)  # a frozen dataclass fills its derived fields like this
        object.__setattr__(self, "query", takes_query)
        object.__setattr__(self, "response", returned)

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path, f"/api{self.path}") if self.seed else (self.path,)


BY_ENDPOINT: web.AppKey[dict[tuple[str, str], Route]] = web.AppKey("routes", dict)
"""(method, path with `{parameters}`) → route, for what looks at a request before its handler."""


def install(app: web.Application, routes: Iterable[Route]) -> None:
    """Add *routes* to *app*, GET with HEAD. May be called several times, before *app* runs."""
    if BY_ENDPOINT not in app:
        app[BY_ENDPOINT] = {}
    resources: dict[str, web.Resource] = {}
    for route in routes:
        endpoint = _endpoint(route)
        for path in route.paths:
            resource = resources.get(path) or resources.setdefault(path, app.router.add_resource(_PLAIN.sub(r"{\1:[^/]+}", path)))
            for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
                resource.add_route(method, endpoint, expect_handler=_expect)
                app[BY_ENDPOINT][method, resource.canonical] = route


def route_of(request: web.Request) -> Route | None:
    """The route that *request* goes to; None when the router has none."""
    resource = request.match_info.route.resource
    return request.app[BY_ENDPOINT].get((request.method, resource.canonical)) if resource else None


def routes_of(app: web.Application) -> Sequence[Route]:
    """What was installed, once each, in order."""
    return list({id(route): route for route in app[BY_ENDPOINT].values()}.values())


def _endpoint(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        query = binding.query(route.query, request.query) if route.query is not NoQuery or request.query_string else NoQuery()
        _check_role(request, query)
        if route.body is NoBody:
            body.check_type(request)
        limit = request.app[SETTINGS].now.http.max_body_bytes
        sent = NoBody() if route.body is NoBody else binding.body(route.body, await body.read_object(request, limit))
        call = Call(request, sent, query, dict(request.match_info))
        answer = await route.handler(call)
        if isinstance(answer, web.StreamResponse):
            return answer
        return json_response(answer.model_dump(mode="json"), route.status, call.headers)

    return endpoint


def _check_role(request: web.Request, query: QueryModel) -> None:
    """Raises ForbiddenError (code `role`) for a parameter that is not for the role of who calls."""
    caller = caller_of(request)
    if caller is None or caller.role == "admin":
        return
    for name, told in type(query).model_fields.items():
        if told.json_schema_extra == FOR_ADMINS and getattr(query, name) != told.default:
            raise ForbiddenError(
                f"{name} is for admins, and {caller.name!r} is the token of a {caller.role}; leave it out",
                code="role", role=caller.role, needed="admin",
            )  # fmt: skip


async def _expect(request: web.Request) -> None:
    """aiohttp would ask for the body here, before anybody has looked at the token; `body.read_object` does it instead."""
