"""Whether there is tracing, and what of HTTP is traced: the requests that come in, the calls of our other services."""

from importlib.util import find_spec
from typing import Any

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.settings import Settings
from api.system import System
from domain.errors import ConfigurationError
from domain.telemetry import sane_traceparent
from domain.tracing import UNTRACED, Kind, Span, Tracer

TRACED_PATHS = ("/graphql", "/v1/", "/webhooks/", "/unsubscribe/")
"""Health and metrics are asked all the time, files are only files."""
_EXTRA = "opentelemetry.exporter.otlp.proto.http"


def tracer_of(settings: Settings, role: str, system: System) -> Tracer:
    """The tracer of the settings; `system` flushes it when everything else has stopped.

    Without a collector nothing here imports OpenTelemetry (redis-py does, where it is installed). Raises
    `ConfigurationError` when there is one, but not the extra.
    """
    if settings.otlp_url is None:
        return UNTRACED
    if not _installed():
        raise ConfigurationError("HELIOGRAPH_OTLP_URL: tracing needs the extra, `pip install heliograph[otel]`.")
    from api.otel import open_tracer

    tracer = open_tracer(role, settings.otlp_url, settings.trace_sample)
    system.add("tracing", stop=tracer.close)
    return tracer


def _installed() -> bool:
    try:
        return find_spec(_EXTRA) is not None and find_spec("opentelemetry.sdk") is not None
    except ModuleNotFoundError:
        return False


class TracedRequests:
    """Each HTTP request is a span of its caller's trace, or of a new one. Pure ASGI, around everything else.

    Whoever reads the request's `traceparent` finds the span's. The path is recorded as its route: a real one may hold
    the token of a link.
    """

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app, self._tracer = app, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(TRACED_PATHS):
            await self._app(scope, receive, send)
            return
        parent = sane_traceparent(_header(scope))
        told = {"http.request.method": _method(scope), "url.scheme": scope["scheme"]}
        with self._tracer.span(told["http.request.method"], Kind.SERVER, told, parent=parent) as span:
            inner = _handed_on(scope, span)

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    _conclude(span, inner, message["status"])
                await send(message)

            await self._app(inner, receive, watched)


def _method(scope: Scope) -> str:
    known = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    return scope["method"] if scope["method"] in known else "_OTHER"


def _header(scope: Scope) -> str | None:
    found = [value for name, value in scope["headers"] if name == b"traceparent"]
    return found[0].decode("latin-1") if len(found) == 1 else None


def _handed_on(scope: Scope, span: Span) -> Scope:
    """The request with the span's traceparent in place of the caller's."""
    others = [(name, value) for name, value in scope["headers"] if name != b"traceparent"]
    ours = [] if span.traceparent is None else [(b"traceparent", span.traceparent.encode())]
    return {**scope, "headers": others + ours}


def _conclude(span: Span, scope: Scope, status: int) -> None:
    route: Any = getattr(scope.get("route"), "path", None)
    span.set({"http.response.status_code": status, "http.route": route})
    if isinstance(route, str) and not scope["path"].startswith("/graphql"):
        span.rename(f"{_method(scope)} {route}")
    if status >= 500:
        span.fail(str(status))


class TracedCalls(httpx.AsyncBaseTransport):
    """Each call of another of our services is a span, and tells that service so. Never for a stranger's."""

    def __init__(self, service: str, transport: httpx.AsyncBaseTransport, tracer: Tracer) -> None:
        self._service, self._transport, self._tracer = service, transport, tracer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        told = {
            "http.request.method": request.method,
            "server.address": request.url.host,
            "server.port": request.url.port,
            "heliograph.service": self._service,
        }
        with self._tracer.span(f"{request.method} {self._service}", Kind.CLIENT, told) as span:
            if span.traceparent is not None:
                request.headers["traceparent"] = span.traceparent
            response = await self._transport.handle_async_request(request)
            span.set({"http.response.status_code": response.status_code})
            if response.status_code >= 400:
                span.fail(str(response.status_code))
            return response

    async def aclose(self) -> None:
        await self._transport.aclose()
