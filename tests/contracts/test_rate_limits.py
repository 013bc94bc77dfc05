"""What every rate limiter promises, in memory and on Redis, and what the one on Redis promises besides."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from redis.asyncio import Redis

from api import rate_limits
from api.rate_limits import MemoryCounts, RateLimiter, parse_rate
from api.security import Principal
from domain.errors import ConfigurationError, RateLimited
from tests.servers.redis import RedisServer

Limiters = Callable[[str, str], RateLimiter]
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    """Where it is counted."""
    return "memory://" if request.param == "memory" else str(request.getfixturevalue("redis_url"))


@pytest.fixture
async def limiters() -> AsyncIterator[Limiters]:
    """Makes limiters and closes them afterwards."""
    made: list[RateLimiter] = []

    def make(rate: str, url: str) -> RateLimiter:
        made.append(RateLimiter(rate, url))
        return made[-1]

    yield make
    for limiter in made:
        await limiter.close()
        await limiter.close()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of this test's own, to do with as it likes."""
    with RedisServer() as server:
        yield server


def caller(name: str) -> Principal:
    """Whoever has this key."""
    return Principal(client="c", key_id=name, name=name, scopes=frozenset())


async def passes(limiter: RateLimiter, name: str = "key_a") -> bool:
    """Whether one more operation may pass."""
    try:
        await limiter.check(caller(name))
    except RateLimited:
        return False
    return True


async def until_it_passes(limiter: RateLimiter) -> None:
    """Wait for the window to end."""
    async with asyncio.timeout(10):
        while not await passes(limiter):  # noqa: ASYNC110 - only the time that passes changes it
            await asyncio.sleep(0.02)


# -------------------------------------------------------------------------------------------------------- everywhere


async def test_so_many_pass_and_the_next_is_told_when_to_come_back(limiters: Limiters, url: str) -> None:
    limiter = limiters("3/minute", url)
    assert [await passes(limiter) for _ in range(3)] == [True] * 3
    for _ in range(2):
        with pytest.raises(RateLimited, match="More than 3 operations a minute") as caught:
            await limiter.check(caller("key_a"))
        assert 1 <= caught.value.retry_after_seconds <= 60


async def test_each_principal_has_a_window_of_its_own(limiters: Limiters, url: str) -> None:
    limiter = limiters("1/minute", url)
    assert [await passes(limiter, name) for name in ("key_a", "user:b", "key_a", "user:b")] == [
        True,
        True,
        False,
        False,
    ]


async def test_of_those_who_come_together_exactly_so_many_pass(limiters: Limiters, url: str) -> None:
    limiter = limiters("20/minute", url)
    names = ["key_a", "key_b"] * 40
    passed = [
        name
        for name, good in zip(names, await asyncio.gather(*(passes(limiter, n) for n in names)), strict=True)
        if good
    ]
    assert (passed.count("key_a"), passed.count("key_b")) == (20, 20)


async def test_another_window_begins_when_the_first_has_ended(limiters: Limiters, url: str) -> None:
    limiter = limiters("2/second", url)
    await passes(limiter)
    await passes(limiter)
    assert not await passes(limiter)
    await until_it_passes(limiter)


async def test_without_a_rate_everything_passes_and_nobody_is_asked(limiters: Limiters) -> None:
    limiter = limiters("", NOWHERE)
    assert all([await passes(limiter) for _ in range(100)])


@pytest.mark.parametrize("rate", ["many", "0/minute", "-1/minute", "5", "5/fortnight", "1/second;5/minute", "/"])
def test_a_rate_that_cannot_be_read_is_refused_by_name(rate: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^HELIOGRAPH_RATE_LIMIT: "):
        RateLimiter(rate)


@pytest.mark.parametrize("rate", ["60000/minute", "5/second", " 10 per hour "])
def test_rates_are_read_as_people_write_them(rate: str) -> None:
    assert parse_rate(rate) is not None


def test_a_url_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        RateLimiter("5/second", "http://nowhere")


async def test_memory_holds_so_many_principals_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "MAX_COUNTED", 10)
    counts = MemoryCounts(60)
    for number in range(50):
        await counts.add(f"key_{number}")
    assert len(counts._windows) <= 11
    assert await counts.add("key_49") == 2


async def test_memory_forgets_windows_that_have_ended() -> None:
    counts = MemoryCounts(0.0)
    for number in range(50):
        assert await counts.add(f"key_{number}") == 1
    assert len(counts._windows) <= 1


# ---------------------------------------------------------------------------------------------------------- on Redis


async def test_all_gateways_count_together(limiters: Limiters, redis_url: str) -> None:
    one, other = limiters("4/minute", redis_url), limiters("4/minute", redis_url)
    assert [await passes(limiter) for limiter in (one, other) * 3] == [True] * 4 + [False] * 2


async def test_what_is_counted_goes_away_by_itself(limiters: Limiters, redis_url: str) -> None:
    await passes(limiters("4/minute", redis_url))
    async with Redis.from_url(redis_url) as client:
        (key,) = await client.keys("*")
        assert 0 < await client.ttl(key) <= 60


async def test_who_is_refused_costs_redis_nothing_more(limiters: Limiters, redis_url: str) -> None:
    limiter = limiters("1/minute", redis_url)
    assert await passes(limiter)
    assert not await passes(limiter)
    async with Redis.from_url(redis_url) as client:
        (key,) = await client.keys("*")
        counted = await client.get(key)
        assert [await passes(limiter) for _ in range(20)] == [False] * 20
        assert await client.get(key) == counted


async def test_redis_that_was_never_there_is_done_without(limiters: Limiters) -> None:
    limiter = limiters("2/minute", NOWHERE)
    assert [await passes(limiter) for _ in range(3)] == [True, True, False]


async def test_redis_that_hangs_is_waited_for_once(
    limiters: Limiters, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = limiters("1000/minute", redis.url)
    assert await passes(limiter)
    redis.pause()
    monkeypatch.setattr(rate_limits, "DEADLINE", 0.05)
    assert all(await asyncio.gather(*(passes(limiter) for _ in range(50))))
    monkeypatch.setattr(limiter._counts, "_add_in_redis", None)  # whoever asks Redis again fails
    assert all([await passes(limiter) for _ in range(50)])


async def test_redis_that_returns_is_counted_in_again(limiters: Limiters, redis: RedisServer) -> None:
    limiter = limiters("1000/second", redis.url)
    assert await passes(limiter)
    redis.kill()
    assert await passes(limiter)
    redis.start()
    async with asyncio.timeout(20), Redis.from_url(redis.url) as client:
        while not await client.keys("*"):
            assert await passes(limiter)
            await asyncio.sleep(0.02)


async def test_a_redis_that_refuses_to_write_does_not_refuse_callers(limiters: Limiters, redis: RedisServer) -> None:
    limiter = limiters("2/minute", redis.url)
    async with Redis.from_url(redis.url) as client:
        await client.slaveof("127.0.0.1", 1)  # a replica is read only
    assert [await passes(limiter) for _ in range(3)] == [True, True, False]
