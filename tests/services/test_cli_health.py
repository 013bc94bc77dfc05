"""`heliograph health` against a role's real routes."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from api.health import health_routes
from api.server import Server
from domain.errors import DatabaseUnavailable
from tests.services.command_line import heliograph

Check = Callable[[], Awaitable[None]]


async def well() -> None:
    """What does what it should."""


async def ill() -> None:
    """What does not."""
    raise DatabaseUnavailable("It is\x1b[2J [red]away.")


@asynccontextmanager
async def serving(routes: list[BaseRoute]) -> AsyncIterator[str]:
    """Where these routes are."""
    server = Server(Starlette(routes=routes), "127.0.0.1", 0)
    await server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("feed", "database", "said", "status"),
    [(well, well, "ok", 0), (ill, well, "degraded", 0), (well, ill, "down", 1)],
)
async def test_a_role_says_how_it_is_and_what_it_depends_on(
    feed: Check, database: Check, said: str, status: int
) -> None:
    checks = {"feed": feed, "database": database}
    async with serving([*health_routes(checks, optional=("feed",))]) as url:
        done = await heliograph("health", "--url", url + "/", url="")
    first, _, headings, *rows = done.out.splitlines()
    assert (done.status, done.err, first) == (status, "", f"{url} is {said}.")
    assert headings.split() == ["depends", "on", "status", "latency", "error"]
    assert [row.split()[:2] for row in rows] == [
        [name, "ok" if check is well else "down"] for name, check in checks.items()
    ]
    assert all(row.split()[3] == "ms" for row in rows)
    assert ("It is?[2J [red]away." in done.out) is (ill in checks.values())


async def test_programs_get_the_whole_answer() -> None:
    async with serving([*health_routes({"database": ill})]) as url:
        done = await heliograph("health", "--json", url=url)
    assert (done.status, done.err) == (1, "")
    assert json.loads(done.out)["data"]["dependencies"]["database"]["status"] == "down"


async def test_a_role_that_is_not_there_is_one_line() -> None:
    done = await heliograph("health", url="http://127.0.0.1:1")
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert done.err.startswith("heliograph: nobody answers at http://127.0.0.1:1: ")


@pytest.mark.parametrize("answer", [{"status": "UP"}, ["odd"], {"data": {"status": "ok", "dependencies": {"x": 1}}}])
async def test_what_is_no_role_is_one_line(answer: object) -> None:
    async with serving([Route("/health", lambda _: JSONResponse(answer))]) as url:
        done = await heliograph("health", url=url)
    assert (done.status, done.out) == (1, "")
    assert done.err == f"heliograph: what answers at {url} is no role of Heliograph (HTTP 200).\n"
