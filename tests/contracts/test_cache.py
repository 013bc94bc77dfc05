"""What every `Cache` promises, and what the one on Redis promises besides while its server is away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
from redis.asyncio import Redis

from domain.errors import ConfigurationError
from domain.ports import Cache
from tests.servers.redis import RedisServer
from workers.cache import MemoryCache, RedisCache

DEADLINE = 10.0
BINARY = bytes(range(256))
Make = Callable[[float], Cache]


@pytest.fixture(params=["memory", "redis"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Makes a cache whose tombstones last for so many seconds; all are closed after the test."""
    made: list[Cache] = []
    url = cast(str, request.getfixturevalue("redis_url")) if request.param == "redis" else None

    def make(tombstone: float) -> Cache:
        cache: Cache = (
            MemoryCache(1_000, tombstone=tombstone) if url is None else RedisCache(url, "test:", tombstone=tombstone)
        )
        made.append(cache)
        return cache

    yield make
    for cache in made:
        await cache.close()


@pytest.fixture
def cache(make: Make) -> Cache:
    return make(10.0)


@asynccontextmanager
async def opened(url: str, prefix: str = "test:") -> AsyncIterator[RedisCache]:
    cache = RedisCache(url, prefix)
    yield cache
    await cache.close()


async def values(cache: Cache, *keys: str) -> dict[str, bytes]:
    return {key: cached.value for key, cached in (await cache.get(keys)).items()}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for `condition`."""
    async with asyncio.timeout(DEADLINE):
        while not await condition():  # noqa: ASYNC110 - what is watched is not ours to signal
            await asyncio.sleep(0.02)


async def test_what_was_put_is_there_byte_for_byte_and_nothing_else_is(cache: Cache) -> None:
    await cache.put({"a": BINARY, "b": b"", "user:ü\ud800": b"3"}, keep=60)
    assert await values(cache, "a", "b", "user:ü\ud800", "c") == {"a": BINARY, "b": b"", "user:ü\ud800": b"3"}


async def test_the_last_value_counts(cache: Cache) -> None:
    await cache.put({"a": b"1"}, keep=60)
    await cache.put({"a": b"2"}, keep=60)
    assert await values(cache, "a") == {"a": b"2"}


async def test_an_entry_grows_older_until_it_is_put_again(cache: Cache) -> None:
    await cache.put({"a": b"1"}, keep=60)

    async def age() -> float:
        return (await cache.get(["a"]))["a"].age

    async def old() -> bool:
        return await age() > 0.3

    assert 0 <= await age() < DEADLINE
    await until(old)
    before = await age()
    await cache.put({"a": b"1"}, keep=60)
    assert await age() < before


async def test_an_entry_is_forgotten_when_its_time_is_over(cache: Cache) -> None:
    await cache.put({"short": b"1"}, keep=0.1)
    await cache.put({"long": b"2"}, keep=60)

    async def gone() -> bool:
        return await values(cache, "short", "long") == {"long": b"2"}

    await until(gone)


async def test_what_is_dropped_is_gone_and_cannot_be_put_for_a_moment(cache: Cache) -> None:
    await cache.put({"a": b"old", "b": b"old"}, keep=60)
    await cache.drop(["a", "never there"])
    await cache.put({"a": b"read before", "never there": b"read before", "b": b"new"}, keep=60)
    assert await values(cache, "a", "never there", "b") == {"b": b"new"}


async def test_what_was_dropped_can_be_put_again_afterwards(make: Make) -> None:
    cache = make(0.1)
    await cache.drop(["a"])

    async def back() -> bool:
        await cache.put({"a": b"new"}, keep=60)
        return await values(cache, "a") == {"a": b"new"}

    await until(back)


async def test_a_put_that_races_with_a_drop_never_wins(cache: Cache) -> None:
    for number in range(50):
        key = f"key {number}"
        await asyncio.gather(cache.put({key: b"old"}, keep=60), cache.drop([key]), cache.put({key: b"old"}, keep=60))
        assert await values(cache, key) == {}


async def test_a_thousand_are_one_call(cache: Cache) -> None:
    items = {f"user:{number}": b"%d" % number for number in range(1_000)}
    await cache.put(items, keep=60)
    assert await values(cache, *items) == items
    await cache.drop(list(items))
    assert await values(cache, *items) == {}


async def test_no_keys_are_no_call(cache: Cache) -> None:
    await cache.put({}, keep=60)
    await cache.drop([])
    assert await cache.get([]) == {}


async def test_a_cache_in_process_keeps_what_was_used_last() -> None:
    cache = MemoryCache(2)
    await cache.put({"a": b"1", "b": b"2"}, keep=60)
    await cache.get(["a"])
    await cache.put({"c": b"3"}, keep=60)
    assert await values(cache, "a", "b", "c") == {"a": b"1", "c": b"3"}


async def test_a_cache_in_process_remembers_only_so_many_drops() -> None:
    cache = MemoryCache(2)
    await cache.drop(["a", "b", "c"])
    await cache.put({"a": b"1", "b": b"2", "c": b"3"}, keep=60)
    assert await values(cache, "a", "b", "c") == {"a": b"1"}


# ---------------------------------------------------------------------------------------------------------- on Redis


async def test_caches_on_one_redis_share_what_has_their_prefix(redis_url: str) -> None:
    async with opened(redis_url) as one, opened(redis_url) as two, opened(redis_url, "other:") as other:
        await one.put({"a": b"1"}, keep=60)
        assert await values(two, "a") == {"a": b"1"}
        assert await values(other, "a") == {}
        await two.drop(["a"])
        await one.put({"a": b"read before"}, keep=60)
        assert await values(one, "a") == {}


async def test_what_others_left_under_our_name_is_not_there(redis_url: str) -> None:
    async with opened(redis_url) as cache, Redis.from_url(redis_url) as redis:
        await redis.mset({"test:a": b"x", "test:b": b"nobody's value of more than sixteen bytes"})
        await redis.rpush("test:list", b"1")
        assert await cache.get(["a", "b", "list"]) == {}


async def test_everything_in_redis_ends_by_itself(redis_url: str) -> None:
    async with opened(redis_url) as cache, Redis.from_url(redis_url) as redis:
        await cache.put({"a": b"1"}, keep=60)
        await cache.drop(["b"])
        assert {key: await redis.ttl(key) > 0 for key in await redis.keys()} == {b"test:a": True, b"test:b": True}


async def test_while_redis_is_away_there_is_nothing_and_nothing_fails(crashing_redis: RedisServer) -> None:
    async with opened(crashing_redis.url) as cache:
        for _ in range(3):
            await cache.put({"a": b"1"}, keep=60)
            await cache.drop(["b"])
            assert await cache.get(["a"]) == {}
        crashing_redis.start()
        await until_it_works(cache)


async def test_redis_killed_and_started_again_is_used_again(crashing_redis: RedisServer) -> None:
    crashing_redis.start()
    async with opened(crashing_redis.url) as cache:
        await until_it_works(cache)
        crashing_redis.kill()
        assert await cache.get(["a"]) == {}
        await asyncio.to_thread(crashing_redis.start)
        await until_it_works(cache)


async def test_a_redis_that_hangs_costs_one_wait_and_is_left_alone_then() -> None:
    connections = 0

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(DEADLINE), opened(f"redis://127.0.0.1:{port}/0") as cache:
        for _ in range(50):
            await cache.put({"a": b"1"}, keep=60)
            await cache.drop(["a"])
            assert await cache.get(["a"]) == {}
        assert connections == 1


async def test_a_redis_that_hung_is_used_again(crashing_redis: RedisServer) -> None:
    crashing_redis.start()
    async with opened(crashing_redis.url) as cache:
        await until_it_works(cache)
        crashing_redis.pause()
        assert await cache.get(["a"]) == {}
        crashing_redis.resume()
        await until_it_works(cache)


async def test_a_caller_who_gives_up_harms_no_other(redis_url: str) -> None:
    async with opened(redis_url) as cache:
        await cache.put({"a": b"1"}, keep=60)
        for steps in range(40):  # of the event loop, so that every moment of a call is tried
            call = asyncio.create_task(cache.get(["a"]))
            for _ in range(steps):
                await asyncio.sleep(0)
            if call.cancel():
                with pytest.raises(asyncio.CancelledError):
                    await call
            assert await values(cache, "a") == {"a": b"1"}


@pytest.mark.parametrize("url", ["amqp://guest:secret@localhost", "", "redis://:secret@localhost:port/0"])
def test_another_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="HELIOGRAPH_CACHE_URL") as refusal:
        RedisCache(url)
    assert "secret" not in str(refusal.value)


async def until_it_works(cache: Cache) -> None:
    """Wait until the cache remembers something."""

    async def works() -> bool:
        await cache.put({"a": b"1"}, keep=60)
        return await values(cache, "a") == {"a": b"1"}

    await until(works)
