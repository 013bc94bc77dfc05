"""Redis killed, frozen, emptied, and away at the start: it holds no truth, and whoever watches misses nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import redis

from tests.e2e.api import WATCH
from tests.faults.sink import Stage
from tests.faults.system import Held, Servers, System, scaled_out
from tests.servers.redis import RedisServer

ROLES = ("gateway", "relay", "email")
SOME = 5


@pytest.fixture(scope="module")
async def system(private_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """A gateway (with its dispatcher), a relay and a worker, on a Redis that may be broken."""
    async with scaled_out(private_servers, tmp_path_factory.mktemp("redis"), *ROLES) as running:
        yield running


@pytest.fixture
def server(private_servers: Servers) -> RedisServer:
    """The Redis."""
    return private_servers.redis


class Watched:
    """A mail that the sink holds, and a caller who watches it."""

    def __init__(self, system: System, held: Held) -> None:
        self._system, self._held = system, held
        self._seen: list[tuple[int, str]] = []
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        async with self._system.api().subscribe(WATCH, id=self._held.id) as events:
            async for event in events:
                self._seen.append((event["sequence"], event["status"]))

    async def ended(self) -> None:
        """Let it go, and wait until the caller has seen the end: every change, in order, once."""
        self._held.hold.release()
        await self._watching
        history = await self._system.history(self._held.id)
        assert self._seen == list(enumerate(history, 1))
        assert history[-1] == "SENT"


async def watched(system: System) -> Watched:
    return Watched(system, await system.hold_one(Stage.ANSWER))


async def check_after(system: System, ids: list[str]) -> None:
    """All was sent once, and who watches now hears of it."""
    await system.check_sent_once(ids)
    for role in ROLES:
        await system.until_it_says(role, "feed", "ok")
    await (await watched(system)).ended()


@pytest.mark.parametrize(
    ("begin", "end"),
    [(RedisServer.kill, RedisServer.start), (RedisServer.pause, RedisServer.resume)],
    ids=["killed", "frozen"],
)
async def test_away(
    system: System,
    server: RedisServer,
    begin: Callable[[RedisServer], object],
    end: Callable[[RedisServer], object],
) -> None:
    caller = await watched(system)
    await asyncio.to_thread(begin, server)
    try:
        ids = await system.send_many(SOME)
        await caller.ended()
        await system.check_sent_once(ids)
    finally:
        await asyncio.to_thread(end, server)

    await check_after(system, ids)


async def test_emptied(system: System, server: RedisServer) -> None:
    caller = await watched(system)
    with redis.Redis.from_url(server.url) as client:
        await asyncio.to_thread(client.flushall)
    ids = await system.send_many(SOME)
    await caller.ended()

    await check_after(system, ids)


async def test_away_at_the_start(system: System, server: RedisServer) -> None:
    for role in ROLES:
        system.kill(role)
    await asyncio.to_thread(server.kill)
    try:
        await system.start(*ROLES)
        ids = await system.send_many(SOME)
        await (await watched(system)).ended()
    finally:
        await asyncio.to_thread(server.start)

    await check_after(system, ids)
