"""aiohttp's server with our errors for what is wrong before there is a request: a malformed line, a header that is too long."""

from aiohttp import web

from daemon.api.problems import Problem, of_fault


class ApiRunner(web.AppRunner):
    """`web.AppRunner` whose connections answer in the form of `problems`.

    aiohttp has no public hook for its low-level 400s; this replaces the factory of connections, and a test sees when it stops working.
    """

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made.request_handler, request_factory=made.request_factory, loop=made._loop, **made._kwargs)


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """aiohttp calls it for what its parser refuses, and for faults outside the middlewares. The connection is closed after it."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun, so that it cannot be replaced by an error")
        if status < 500:
            text = (message or "").strip().partition("\n")[0].rstrip(":")[:200]
            return Problem(400, f"this is not a valid HTTP request: {text}", {"code": "bad_http"}, closes=True).response()
        response = of_fault(exc or RuntimeError(message), "handling a connection").response()
        response.force_close()
        return response
