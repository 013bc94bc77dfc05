"""What every `Directory` promises, and how the registry in Redis comes to know who lives."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from api.discovery import Directory, Instance, RedisDirectory, Registration, StaticDirectory
from domain.errors import ConfigurationError
from domain.ids import INSTANCE, new_id
from tests.servers.redis import RedisServer

DEADLINE = 10.0
STARTED = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
EVERY = 0.05


class Clock:
    """A clock on which the registry is never read too recently: each look at it is `step` seconds later."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def instance(service: str, url: str) -> Instance:
    return Instance(
        service=service, id=new_id(INSTANCE), url=url, version="1.2.3", started_at=STARTED, last_seen=STARTED
    )


@asynccontextmanager
async def directory_at(url: str, step: float = 60.0) -> AsyncIterator[RedisDirectory]:
    """A directory that, by its clock, is asked every `step` seconds."""
    directory = RedisDirectory(url, clock=Clock(step))
    yield directory
    await directory.close()


@asynccontextmanager
async def registered(url: str, this: Instance, ttl: float = 15.0) -> AsyncIterator[Instance]:
    registration = Registration(url, this, ttl=ttl, every=EVERY)
    await registration.start()
    yield this
    await registration.stop()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for `condition`."""
    async with asyncio.timeout(DEADLINE):
        while not await condition():  # noqa: ASYNC110 - what is watched is not ours to signal
            await asyncio.sleep(0.01)


async def until_located(directory: Directory, service: str, *urls: str) -> None:
    """Wait until these are where the service is."""

    async def located() -> bool:
        return list(await directory.locate(service)) == list(urls)

    await until(located)


@pytest.fixture(params=["static", "redis"])
async def directory(request: pytest.FixtureRequest) -> AsyncIterator[Directory]:
    """Directories of a system whose only User Service is at `http://one`."""
    if request.param == "static":
        yield StaticDirectory("http://one")
        return
    url = request.getfixturevalue("redis_url")
    async with registered(url, instance("users", "http://one")), directory_at(url) as directory:
        await until_located(directory, "users", "http://one")
        yield directory


async def test_a_service_is_where_it_is(directory: Directory) -> None:
    assert list(await directory.locate("users")) == ["http://one"]
    assert list(await directory.locate("users")) == ["http://one"]


async def test_all_who_ask_at_once_are_told(directory: Directory) -> None:
    assert [list(urls) for urls in await asyncio.gather(*(directory.locate("users") for _ in range(50)))] == [
        ["http://one"]
    ] * 50


async def test_instances_are_told_by_those_that_registered(directory: Directory) -> None:
    known = await directory.instances()
    assert {each.service for each in known} == ({"users"} if isinstance(directory, RedisDirectory) else set())


# ------------------------------------------------------------------------------------------------ the registry in Redis


async def test_every_instance_is_found_with_all_that_it_said(redis_url: str) -> None:
    async with (
        registered(redis_url, instance("users", "http://one")) as one,
        registered(redis_url, instance("users", "http://two")) as two,
        registered(redis_url, instance("email", "http://three")) as three,
        directory_at(redis_url) as directory,
    ):
        await until_located(directory, "users", "http://one", "http://two")
        await until_located(directory, "email", "http://three")
        assert await directory.locate("templates") == []
        found = await directory.instances()
        assert [(each.id, each.service, each.url, each.version, each.started_at) for each in found] == [
            (each.id, each.service, each.url, each.version, each.started_at) for each in (one, two, three)
        ]
        assert all(each.last_seen > STARTED for each in found)


async def test_who_stops_is_gone_at_once(redis_url: str) -> None:
    async with directory_at(redis_url) as directory:
        async with registered(redis_url, instance("users", "http://one")):
            await until_located(directory, "users", "http://one")
        assert await directory.locate("users") == []
    async with Redis.from_url(redis_url) as redis:
        assert await redis.keys() == []


async def test_who_dies_without_a_word_is_gone_after_its_time(redis_url: str) -> None:
    before = asyncio.all_tasks()
    registration = Registration(redis_url, instance("users", "http://one"), ttl=0.5, every=EVERY)
    await registration.start()
    [beating] = asyncio.all_tasks() - before
    async with directory_at(redis_url) as directory:
        await until_located(directory, "users", "http://one")
        beating.cancel()  # as SIGKILL would: nothing is said
        await until_located(directory, "users")
        async with Redis.from_url(redis_url) as redis:
            assert await redis.keys() == []
    await registration.stop()


async def test_a_registry_that_was_flushed_is_healed_by_the_next_sign_of_life(redis_url: str) -> None:
    async with registered(redis_url, instance("users", "http://one")), directory_at(redis_url) as directory:
        await until_located(directory, "users", "http://one")
        async with Redis.from_url(redis_url) as redis:
            await redis.flushdb()
        await until_located(directory, "users", "http://one")


async def test_the_first_instance_is_found_however_lately_nobody_was(redis_url: str) -> None:
    async with directory_at(redis_url, step=0.0) as directory:
        assert await directory.locate("users") == []
        async with registered(redis_url, instance("users", "http://one")):
            await until_located(directory, "users", "http://one")


async def test_redis_may_be_away_at_the_start(crashing_redis: RedisServer) -> None:
    url = crashing_redis.url
    async with registered(url, instance("users", "http://one")), directory_at(url) as directory:
        assert await directory.locate("users") == []
        await asyncio.to_thread(crashing_redis.start)
        await until_located(directory, "users", "http://one")


@pytest.mark.parametrize("fate", ["kill", "pause"])
async def test_while_redis_is_away_the_last_known_answer_is_used(crashing_redis: RedisServer, fate: str) -> None:
    crashing_redis.start()
    url = crashing_redis.url
    async with registered(url, instance("users", "http://one")), directory_at(url) as directory:
        await until_located(directory, "users", "http://one")
        getattr(crashing_redis, fate)()
        async with asyncio.timeout(DEADLINE):
            for _ in range(3):
                assert await directory.locate("users") == ["http://one"]
        crashing_redis.close()
        async with asyncio.timeout(DEADLINE):
            assert await directory.locate("users") == ["http://one"]


async def test_the_registry_is_read_once_a_moment(redis_url: str) -> None:
    async with (
        registered(redis_url, instance("users", "http://one")) as one,
        directory_at(redis_url) as eager,
        directory_at(redis_url, step=0.0) as calm,
    ):
        await until_located(eager, "users", "http://one")
        assert await calm.locate("users") == ["http://one"]
        async with registered(redis_url, instance("users", "http://two")):
            await until_located(eager, "users", "http://one", "http://two")
            assert [each.id for each in await calm.instances()] == [one.id]


async def test_reading_again_keeps_nobody_waiting(redis_url: str) -> None:
    async with (
        registered(redis_url, instance("users", "http://one")),
        directory_at(redis_url) as eager,
        directory_at(redis_url, step=1.5) as steady,
    ):
        await until_located(eager, "users", "http://one")
        assert await steady.locate("users") == ["http://one"]
        async with registered(redis_url, instance("users", "http://two")):
            await until_located(eager, "users", "http://one", "http://two")
            assert await steady.locate("users") == ["http://one"]
            await until_located(steady, "users", "http://one", "http://two")


async def test_entries_of_another_version_are_passed_over(redis_url: str) -> None:
    async with (
        registered(redis_url, instance("users", "http://one")),
        directory_at(redis_url) as directory,
        Redis.from_url(redis_url) as redis,
    ):
        for id, entry in (("ins_x", b"{}"), ("ins_y", b"\xff")):
            await redis.set(f"heliograph:instance:{id}", entry)
            await redis.sadd("heliograph:instances", id)
        await until_located(directory, "users", "http://one")


@pytest.mark.parametrize("url", ["amqp://guest:secret@localhost", "", "redis://:secret@localhost:port/0"])
def test_another_url_is_refused_without_repeating_it(url: str) -> None:
    for make in (RedisDirectory, lambda url: Registration(url, instance("users", "http://one"))):
        with pytest.raises(ConfigurationError, match="HELIOGRAPH_DISCOVERY_URL") as refusal:
            make(url)
        assert "secret" not in str(refusal.value)
