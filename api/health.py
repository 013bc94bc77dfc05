"""`/health`, `/health/live`, `/health/ready` and `/metrics`, the same for every role."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain.errors import HeliographError

Check = Callable[[], Awaitable[None]]
OPTIONAL = ("feed",)
"""Without these a role is degraded, not down: others only hear of things later."""
_CHECK_SECONDS = 2.0


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a role needs: `ok` or `down`, how long it took to say so, and why it is down."""

    status: str
    latency_ms: float
    error: str | None = None


def health_routes(
    checks: Mapping[str, Check],
    *,
    optional: Collection[str] = (),
    metrics: CollectorRegistry | None = None,
    accepting: Callable[[], bool] = lambda: True,
) -> list[Route]:
    """Routes that say how this role does. A check returns when its dependency is well and raises when it is not.

    `/health` is 200 with status `ok`, 200 with `degraded` when an optional dependency is down, 503 with `down`
    otherwise; `/health/ready` is 503 also while the role is not `accepting` work; `/health/live` says that the process
    answers. `/metrics` is there when a registry is given.
    """
    health = _Health(Checkup(checks, optional), accepting)
    routes = [
        Route("/health", health.whole),
        Route("/health/live", health.live),
        Route("/health/ready", health.ready),
    ]
    if metrics is not None:
        routes.append(Route("/metrics", _metrics(metrics)))
    return routes


class Checkup:
    """Looks after what a role needs. A check returns when its dependency is well and raises when it is not."""

    def __init__(self, checks: Mapping[str, Check], optional: Collection[str] = ()) -> None:
        self._checks, self._optional = checks, frozenset(optional)

    async def look(self) -> dict[str, Dependency]:
        """Each dependency as it is now; takes two seconds at most, and never raises."""
        checks = dict(self._checks)
        found = await asyncio.gather(*(_ask(check) for check in checks.values()))
        return dict(zip(checks, found, strict=True))

    def status(self, found: Mapping[str, Dependency]) -> str:
        """What the whole comes to: `ok`, `degraded` when an optional one is down, `down` otherwise."""
        down = {name for name, dependency in found.items() if dependency.status == "down"}
        if not down:
            return "ok"
        return "degraded" if down <= self._optional else "down"


class _Health:
    def __init__(self, checkup: Checkup, accepting: Callable[[], bool]) -> None:
        self._checkup, self._accepting = checkup, accepting

    async def live(self, _: Request) -> Response:
        return _answer("ok", {}, 200)

    async def whole(self, _: Request) -> Response:
        found = await self._checkup.look()
        status = self._checkup.status(found)
        return _answer(status, found, 503 if status == "down" else 200)

    async def ready(self, _: Request) -> Response:
        found = await self._checkup.look()
        status = self._checkup.status(found) if self._accepting() else "stopping"
        return _answer(status, found, 200 if status in {"ok", "degraded"} else 503)


async def _ask(check: Check) -> Dependency:
    started, error = time.perf_counter(), None
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except TimeoutError:
        error = f"It did not answer within {_CHECK_SECONDS:g} s."
    except HeliographError as failure:
        error = failure.message
    except Exception as failure:
        error = f"It failed ({type(failure).__name__})."  # the text of a stranger's error may hold a secret
    latency = round((time.perf_counter() - started) * 1000, 2)
    return Dependency(status="down" if error else "ok", latency_ms=latency, error=error)


def _answer(status: str, found: Mapping[str, Dependency], code: int) -> Response:
    envelope: dict[str, Any] = {
        "success": code == 200,
        "data": {"status": status, "dependencies": found},
        "error": None if code == 200 else {"code": "UNHEALTHY", "message": f"This role is {status}."},
        "message": status,
        "meta": None,
    }
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(envelope), code, headers, media_type="application/json")


def _metrics(registry: CollectorRegistry) -> Callable[[Request], Awaitable[Response]]:
    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return metrics
