"""The frame of every HTTP role: envelope, last resort, health, metrics."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from api.health import health_routes
from api.http import Correlation, LastResort, fail, page_meta, plain_app, respond
from domain.errors import (
    Conflict,
    DatabaseUnavailable,
    Forbidden,
    HeliographError,
    NotFound,
    RateLimited,
    TooLate,
    Unauthenticated,
    ValidationFailed,
)
from domain.telemetry import correlation_id

Check = Callable[[], Awaitable[None]]


async def fine() -> None:
    return None


async def broken() -> None:
    raise RuntimeError("password=hunter2")


async def away() -> None:
    raise DatabaseUnavailable("The users database does not answer.")


async def get(app: Any, path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://role") as http:
        return await http.get(path, headers=headers)


@pytest.mark.parametrize(
    ("checks", "optional", "status", "ready", "word"),
    [
        ({"a": fine}, [], 200, 200, "ok"),
        ({}, [], 200, 200, "ok"),
        ({"a": fine, "b": broken}, ["b"], 200, 200, "degraded"),
        ({"a": fine, "b": broken}, [], 503, 503, "down"),
        ({"a": broken, "b": broken}, ["b"], 503, 503, "down"),
    ],
)
async def test_health_is_as_good_as_its_dependencies(
    checks: dict[str, Check], optional: list[str], status: int, ready: int, word: str
) -> None:
    app = Starlette(routes=health_routes(checks, optional=optional))
    health = await get(app, "/health")
    assert (health.status_code, health.json()["data"]["status"]) == (status, word)
    assert set(health.json()["data"]["dependencies"]) == set(checks)
    assert (await get(app, "/health/ready")).status_code == ready
    assert (await get(app, "/health/live")).status_code == 200


async def test_health_tells_why_and_tells_no_secret() -> None:
    answer = await get(plain_app({"queue": broken, "database": away}), "/health")
    found = answer.json()["data"]["dependencies"]
    assert found["database"]["error"] == "The users database does not answer."
    assert found["queue"]["error"] == "It failed (RuntimeError)."
    assert "hunter2" not in answer.text


async def test_a_dependency_that_hangs_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.health._CHECK_SECONDS", 0.01)

    async def hangs() -> None:
        await asyncio.Event().wait()

    answer = await get(plain_app({"queue": hangs}), "/health")
    assert answer.status_code == 503


async def test_who_stops_is_not_ready() -> None:
    app = Starlette(routes=health_routes({"a": fine}, accepting=lambda: False))
    assert (await get(app, "/health/ready")).status_code == 503
    assert (await get(app, "/health")).status_code == 200


async def test_metrics_come_from_the_registry_that_was_given() -> None:
    registry = CollectorRegistry()
    Counter("mails", "Mails sent.", registry=registry).inc(3)
    answer = await get(plain_app({}, registry), "/metrics")
    assert "mails_total 3.0" in answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert (await get(plain_app({}), "/metrics")).status_code == 404


# ------------------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ValidationFailed.of("a.b", "bad", "is bad"), 422, "VALIDATION_FAILED"),
        (NotFound("user", "usr_1"), 404, "NOT_FOUND"),
        (Conflict("taken"), 409, "CONFLICT"),
        (TooLate("late"), 409, "TOO_LATE"),
        (Unauthenticated("who?"), 401, "UNAUTHENTICATED"),
        (Forbidden("no"), 403, "FORBIDDEN"),
        (RateLimited("slow down", 7), 429, "RATE_LIMITED"),
        (DatabaseUnavailable("away"), 503, "UPSTREAM_UNAVAILABLE"),
        (HeliographError("odd"), 500, "INTERNAL"),
    ],
)
async def test_every_error_says_what_it_is(error: HeliographError, status: int, code: str) -> None:
    async def endpoint(_: Request) -> Response:
        return fail(error)

    answer = await get(Starlette(routes=[Route("/", endpoint)]), "/")
    body = answer.json()
    assert (answer.status_code, body["success"], body["data"], body["meta"]) == (status, False, None, None)
    assert (body["error"]["code"], body["error"]["message"], body["message"]) == (code, str(error), str(error))
    assert ("Retry-After" in answer.headers) == (status in {429, 503})


async def test_fields_are_named_by_their_path() -> None:
    async def endpoint(_: Request) -> Response:
        return fail(ValidationFailed.of("locales.0.html", "template_syntax", "is no Liquid"))

    body = (await get(Starlette(routes=[Route("/", endpoint)]), "/")).json()
    assert body["error"]["fields"] == [
        {"path": ["locales", "0", "html"], "code": "template_syntax", "message": "is no Liquid"}
    ]


def framed(endpoint: Callable[[Request], Awaitable[Response]]) -> Starlette:
    return Starlette(routes=[Route("/", endpoint)], middleware=[Middleware(Correlation), Middleware(LastResort)])


async def test_a_bug_is_a_500_that_gives_nothing_away() -> None:
    async def endpoint(_: Request) -> Response:
        raise RuntimeError("password=hunter2")

    answer = await get(framed(endpoint), "/", **{"X-Correlation-ID": "abc"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "INTERNAL")
    assert "hunter2" not in answer.text
    assert answer.headers["x-correlation-id"] == "abc"


async def test_an_answer_that_has_begun_is_cut_off_and_not_mended() -> None:
    async def parts() -> Any:
        yield b"half"
        raise RuntimeError("broke off")

    async def endpoint(_: Request) -> Response:
        return StreamingResponse(parts())

    with pytest.raises(RuntimeError, match="broke off"):
        await get(framed(endpoint), "/")


async def test_the_correlation_id_is_known_while_the_request_runs_and_only_then() -> None:
    async def endpoint(_: Request) -> Response:
        return respond(correlation_id.get())

    answer = await get(framed(endpoint), "/", **{"X-Correlation-ID": "abc-1"})
    assert answer.json()["data"] == "abc-1"
    assert correlation_id.get() is None


@pytest.mark.parametrize(
    ("total", "page", "limit", "pages", "next_", "previous"),
    [
        (0, 1, 20, 0, False, False),
        (20, 1, 20, 1, False, False),
        (21, 1, 20, 2, True, False),
        (21, 2, 20, 2, False, True),
    ],
)
def test_pages_are_counted(total: int, page: int, limit: int, pages: int, next_: bool, previous: bool) -> None:
    meta = page_meta(total, page, limit)
    assert (meta.total_pages, meta.has_next, meta.has_previous) == (pages, next_, previous)
