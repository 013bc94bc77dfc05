"""What every HTTP service has in common: the envelope, errors as JSON, the correlation id, the service token.

Every answer is `{success, data, error, message, meta}`; `meta` is set on lists, `error` on failures.
"""

import hmac
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.health import Check, health_routes
from domain.errors import (
    Conflict,
    FieldProblem,
    HeliographError,
    NotFound,
    RateLimited,
    RequestError,
    Unauthenticated,
    Unavailable,
    ValidationFailed,
)
from domain.telemetry import correlation_id, sane_correlation_id, sane_traceparent, traceparent

__all__ = [
    "Correlation",
    "Envelope",
    "LastResort",
    "PageMeta",
    "Problem",
    "ServiceToken",
    "fail",
    "health_routes",
    "install_error_handlers",
    "page_meta",
    "plain_app",
    "respond",
]

CORRELATION_HEADER = "X-Correlation-ID"
OPEN_PATHS = ("/health", "/docs", "/openapi.json", "/metrics")
"""What needs no service token; paths below them neither."""

T = TypeVar("T")
log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_WORDS = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "TOO_LARGE", 415: "UNSUPPORTED_MEDIA_TYPE"}


class PageMeta(msgspec.Struct, frozen=True, kw_only=True):
    """Where a list stands. Pages count from 1."""

    total: int
    limit: int
    page: int
    total_pages: int
    has_next: bool
    has_previous: bool


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong. `fields` names each field of the input that is wrong or clashes, `id` what was not found."""

    code: str
    message: str
    fields: tuple[FieldProblem, ...] | None = None
    id: str | None = None
    retry_after_seconds: int | None = None


class Envelope(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """The shape of every answer."""

    success: bool
    data: T | None = None
    error: Problem | None = None
    message: str = ""
    meta: PageMeta | None = None


def page_meta(total: int, page: int, limit: int) -> PageMeta:
    """The meta of one page out of `total` items."""
    pages = math.ceil(total / limit)
    return PageMeta(
        total=total,
        limit=limit,
        page=page,
        total_pages=pages,
        has_next=page < pages,
        has_previous=1 < page <= pages + 1,
    )


def respond(data: Any, message: str = "", *, status: int = 200, meta: PageMeta | None = None) -> Response:
    """A success."""
    envelope = Envelope[Any](success=True, data=data, message=message, meta=meta)
    return Response(_encode(envelope), status, media_type="application/json")


def fail(error: HeliographError) -> Response:
    """A failure, as the error itself says what it is."""
    problem = Problem(
        code=error.code,
        message=error.message,
        fields=error.fields or None if isinstance(error, ValidationFailed | Conflict) else None,
        id=error.id if isinstance(error, NotFound) else None,
        retry_after_seconds=error.retry_after_seconds if isinstance(error, RateLimited) else None,
    )
    return _failure(problem, error.http_status, _headers_of(error))


def install_error_handlers(app: FastAPI) -> None:
    """Have every failure of a FastAPI application answered in the envelope."""
    app.add_exception_handler(HeliographError, _on_known)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


def plain_app(checks: Mapping[str, Check], metrics: CollectorRegistry | None = None) -> Starlette:
    """What a role without an API of its own serves: its health and its metrics."""
    middleware = [Middleware(Correlation), Middleware(LastResort)]
    handlers = {HeliographError: _on_known, HTTPException: _on_http}
    routes = health_routes(checks, metrics=metrics)
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)


class Correlation:
    """Gives each request a correlation id: the caller's `X-Correlation-ID` if it is sane, else a new one.

    It is in `domain.telemetry.correlation_id` while the request runs, and in the response. Pure ASGI.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        identifier = sane_correlation_id(headers.get(CORRELATION_HEADER))
        ours = correlation_id.set(identifier)
        trace = traceparent.set(sane_traceparent(headers.get("traceparent")))

        async def stamped(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.accept"}:
                MutableHeaders(scope=message)[CORRELATION_HEADER] = identifier
            await send(message)

        try:
            await self._app(scope, receive, stamped)
        finally:
            correlation_id.reset(ours)
            traceparent.reset(trace)


class LastResort:
    """Turns an exception that nobody expected into a 500 in the envelope; the log has the traceback, the caller not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            if started:
                raise
            await fail(HeliographError("Something went wrong on our side."))(scope, receive, send)


class ServiceToken:
    """Lets in only who carries `Authorization: Bearer <token>`, except to `OPEN_PATHS`."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._admits(scope):
            await self._app(scope, receive, send)
        else:
            await fail(Unauthenticated("This service wants its service token."))(scope, receive, send)

    def _admits(self, scope: Scope) -> bool:
        path: str = scope["path"]
        if any(path == open_ or path.startswith(f"{open_}/") for open_ in OPEN_PATHS):
            return True
        return hmac.compare_digest(Headers(scope=scope).get("authorization", "").encode(), self._expected)


def field_problems(errors: Sequence[Any]) -> tuple[FieldProblem, ...]:
    """Pydantic's errors as ours: the path from the root of the input, without saying where the input stood."""
    problems = []
    for error in errors:
        place, *path = error["loc"]
        if error["type"] == "json_invalid" or not path:
            path = [place]
        message = str(error["msg"]).removeprefix("Value error, ")
        problems.append(FieldProblem(tuple(map(str, path)), str(error["type"]), message))
    return tuple(problems)


def _failure(problem: Problem, status: int, headers: dict[str, str] | None = None) -> Response:
    envelope = Envelope[Any](success=False, error=problem, message=problem.message)
    return Response(_encode(envelope), status, headers, media_type="application/json")


def _headers_of(error: HeliographError) -> dict[str, str]:
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, RateLimited):
        return {"Retry-After": str(error.retry_after_seconds)}
    if isinstance(error, Unavailable):
        return {"Retry-After": "1"}
    return {}


async def _on_known(_: Request, error: Exception) -> Response:
    assert isinstance(error, HeliographError)
    if not isinstance(error, RequestError):
        log.warning("answered %d: %s", error.http_status, error)
    return fail(error)


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return fail(ValidationFailed(field_problems(error.errors())))


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = Problem(code=_WORDS.get(error.status_code, "BAD_REQUEST"), message=f"{error.detail}.")
    return _failure(problem, error.status_code, dict(error.headers or {}))
