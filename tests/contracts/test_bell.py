"""What every `Bell` promises, and what the one on Redis promises besides."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import pytest
from redis.asyncio import Redis

from domain.channels import NUDGE_CHANNEL, STATUS_CHANNEL
from domain.errors import ConfigurationError
from domain.ports import Bell
from tests.servers.redis import RedisServer
from workers.bell import BroadcastBell

CHANNELS = (STATUS_CHANNEL, NUDGE_CHANNEL)
DEADLINE = 10.0
BINARY = bytes(range(256)) + '{"rows": ["é"]}'.encode()


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    """Where the bells of the suite meet."""
    return "memory://" if request.param == "memory" else cast(str, request.getfixturevalue("redis_url"))


@asynccontextmanager
async def connected(url: str, buffer: int = 100) -> AsyncIterator[BroadcastBell]:
    """A bell that is there: its server has been found."""
    bell = BroadcastBell(url, CHANNELS, buffer=buffer)
    async with bell.listen(STATUS_CHANNEL) as rings:
        await bell.connect()
        try:
            assert await heard(rings) == b""
            yield bell
        finally:
            await bell.close()


async def heard(rings: AsyncIterator[bytes]) -> bytes:
    """The next payload."""
    async with asyncio.timeout(DEADLINE):
        return await anext(rings)


async def heard_until(rings: AsyncIterator[bytes], last: bytes) -> list[bytes]:
    """All payloads up to and with `last`."""
    payloads = [await heard(rings)]
    while payloads[-1] != last:
        payloads.append(await heard(rings))
    return payloads


async def ring_until_heard(bell: Bell, rings: AsyncIterator[bytes], payload: bytes) -> list[bytes]:
    """Ring again and again, because any ring may be lost, until one is heard; all payloads up to it."""
    payloads: list[bytes] = []
    async with asyncio.timeout(DEADLINE):
        while payload not in payloads:
            bell.ring(STATUS_CHANNEL, payload)
            try:
                payloads.append(await asyncio.wait_for(anext(rings), 0.1))
            except TimeoutError:
                continue
    return payloads


async def until(condition: Callable[[], bool]) -> None:
    """Wait for `condition`."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what is watched is not ours to signal
            await asyncio.sleep(0.01)


async def cut_subscribers(server: RedisServer) -> None:
    """Drop every connection that listens; the server runs on."""
    async with Redis.from_url(server.url) as client:
        await client.client_kill_filter(_type="pubsub")


async def test_a_ring_reaches_every_listener_of_its_channel_and_no_other(url: str) -> None:
    async with connected(url) as bell, AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(bell.listen(STATUS_CHANNEL)) for _ in range(3)]
        others = await stack.enter_async_context(bell.listen(NUDGE_CHANNEL))
        bell.ring(STATUS_CHANNEL, b"one")
        bell.ring(NUDGE_CHANNEL, b"two")
        assert [await heard(rings) for rings in listeners] == [b"one"] * 3
        assert await heard_until(others, b"two") in ([b"two"], [b"", b"two"])


async def test_payloads_arrive_as_the_bytes_that_were_rung(url: str) -> None:
    async with connected(url) as bell, bell.listen(STATUS_CHANNEL) as rings:
        for payload in (BINARY, b"", b"\x00", b"x" * 300_000):
            bell.ring(STATUS_CHANNEL, payload)
            assert await heard(rings) == payload


async def test_rings_of_one_bell_arrive_in_order(url: str) -> None:
    expected = [b"%d" % number for number in range(50)]
    async with connected(url) as bell, bell.listen(STATUS_CHANNEL) as rings:
        for payload in expected:
            bell.ring(STATUS_CHANNEL, payload)
        assert await heard_until(rings, expected[-1]) == expected


async def test_a_connection_rings_the_empty_payload_on_every_channel(url: str) -> None:
    bell = BroadcastBell(url, CHANNELS)
    async with bell.listen(STATUS_CHANNEL) as statuses, bell.listen(NUDGE_CHANNEL) as nudges:
        assert not bell.available
        await bell.connect()
        assert [await heard(statuses), await heard(nudges)] == [b"", b""]
        assert bell.available
        await bell.close()
        assert not bell.available


async def test_a_listener_that_is_slow_loses_the_oldest(url: str) -> None:
    async with connected(url, buffer=4) as bell, AsyncExitStack() as stack:
        slow = await stack.enter_async_context(bell.listen(STATUS_CHANNEL))
        quick = await stack.enter_async_context(bell.listen(STATUS_CHANNEL))
        for number in range(10):
            bell.ring(STATUS_CHANNEL, b"%d" % number)
            assert await heard(quick) == b"%d" % number
        assert [await heard(slow) for _ in range(4)] == [b"6", b"7", b"8", b"9"]


async def test_rings_that_cannot_be_sent_fast_enough_lose_the_oldest(url: str) -> None:
    async with connected(url, buffer=4) as bell, bell.listen(STATUS_CHANNEL) as rings:
        for number in range(1000):  # no await in between: nothing is sent meanwhile
            bell.ring(STATUS_CHANNEL, b"%d" % number)
        assert await heard_until(rings, b"999") == [b"996", b"997", b"998", b"999"]


async def test_a_wait_that_was_cancelled_loses_nothing(url: str) -> None:
    async with connected(url) as bell, bell.listen(STATUS_CHANNEL) as rings:
        waiting = asyncio.ensure_future(anext(rings))
        await asyncio.sleep(0)
        waiting.cancel()
        bell.ring(STATUS_CHANNEL, b"one")
        assert await heard(rings) == b"one"


async def test_who_has_left_is_not_told(url: str) -> None:
    async with connected(url) as bell, bell.listen(STATUS_CHANNEL) as witness:
        async with bell.listen(STATUS_CHANNEL) as rings:
            bell.ring(STATUS_CHANNEL, b"before")
            assert await heard(rings) == b"before"
        bell.ring(STATUS_CHANNEL, b"after")
        await heard_until(witness, b"after")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(rings), 0)


async def test_closing_ends_the_listeners_and_leaves_nothing_behind(url: str) -> None:
    before = asyncio.all_tasks()
    async with connected(url) as bell, bell.listen(STATUS_CHANNEL) as rings:
        assert asyncio.all_tasks() > before
        await bell.close()
        assert asyncio.all_tasks() <= before
        assert [payload async for payload in rings] == []
        with pytest.raises(StopAsyncIteration):
            await anext(rings)


async def test_closing_in_the_middle_of_a_ring_ends(url: str) -> None:
    for steps in range(60):  # of the event loop, so that every moment of a publish is tried
        async with connected(url) as bell:
            bell.ring(STATUS_CHANNEL, b"perhaps")
            for _ in range(steps):
                await asyncio.sleep(0)
            async with asyncio.timeout(DEADLINE):
                await bell.close()


async def test_a_bell_may_be_closed_twice_and_rung_after(url: str) -> None:
    async with connected(url) as bell:
        await bell.close()
        await bell.close()
        bell.ring(STATUS_CHANNEL, b"nobody hears it")
        assert not bell.available


async def test_closing_a_bell_that_was_never_connected(url: str) -> None:
    bell = BroadcastBell(url, CHANNELS)
    bell.ring(STATUS_CHANNEL)
    await bell.close()


async def test_a_channel_that_the_bell_was_not_made_with_cannot_be_listened_to(url: str) -> None:
    bell = BroadcastBell(url, CHANNELS)
    with pytest.raises(KeyError):
        async with bell.listen("another"):
            pass


@pytest.mark.parametrize("url", ["amqp://guest:secret@localhost", "", "redis://:secret@localhost:port/0"])
def test_another_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="HELIOGRAPH_FEED_URL") as refusal:
        BroadcastBell(url, CHANNELS)
    assert "secret" not in str(refusal.value)


async def test_bells_on_one_redis_hear_each_other(redis_url: str) -> None:
    async with (
        connected(redis_url) as one,
        connected(redis_url) as other,
        one.listen(STATUS_CHANNEL) as here,
        other.listen(STATUS_CHANNEL) as there,
    ):
        one.ring(STATUS_CHANNEL, BINARY)
        assert [await heard(here), await heard(there)] == [BINARY, BINARY]
        other.ring(STATUS_CHANNEL, b"back")
        assert [await heard(here), await heard(there)] == [b"back", b"back"]


async def test_systems_on_different_databases_of_one_redis_do_not_hear_each_other(crashing_redis: RedisServer) -> None:
    crashing_redis.start()
    first, second = crashing_redis.fresh_database(), crashing_redis.fresh_database()
    async with connected(first) as one, connected(second) as other, other.listen(STATUS_CHANNEL) as rings:
        one.ring(STATUS_CHANNEL, b"not for you")
        async with one.listen(STATUS_CHANNEL) as own:
            one.ring(STATUS_CHANNEL, b"sent")
            await heard_until(own, b"sent")
        other.ring(STATUS_CHANNEL, b"for you")
        assert await heard_until(rings, b"for you") == [b"for you"]


async def test_redis_killed_and_started_again_is_heard_again(
    crashing_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    crashing_redis.start()
    async with connected(crashing_redis.url) as bell, bell.listen(STATUS_CHANNEL) as rings:
        for _ in range(2):
            crashing_redis.kill()
            await until(lambda: not bell.available)
            for _ in range(5000):
                bell.ring(STATUS_CHANNEL, b"lost")
            await asyncio.to_thread(crashing_redis.start)  # rings are lost meanwhile
            assert await heard(rings) == b""
            assert bell.available
            assert (await ring_until_heard(bell, rings, b"back"))[-1] == b"back"
            bell.ring(STATUS_CHANNEL, b"end of round")
            await heard_until(rings, b"end of round")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_redis_that_stops_answering_is_noticed_and_found_again(crashing_redis: RedisServer) -> None:
    crashing_redis.start()
    async with connected(crashing_redis.url) as bell, bell.listen(STATUS_CHANNEL) as rings:
        crashing_redis.pause()
        bell.ring(STATUS_CHANNEL, b"into the void")
        await until(lambda: not bell.available)
        crashing_redis.resume()
        await heard_until(rings, b"")
        assert (await ring_until_heard(bell, rings, b"back"))[-1] == b"back"


async def test_a_connection_that_is_cut_is_made_again(crashing_redis: RedisServer) -> None:
    crashing_redis.start()
    async with connected(crashing_redis.url) as bell, bell.listen(STATUS_CHANNEL) as rings:
        await cut_subscribers(crashing_redis)
        assert await heard(rings) == b""
        bell.ring(STATUS_CHANNEL, b"one")
        assert await heard(rings) == b"one"


async def test_redis_that_is_away_at_the_start_is_found_later(crashing_redis: RedisServer) -> None:
    bell = BroadcastBell(crashing_redis.url, CHANNELS)
    async with bell.listen(STATUS_CHANNEL) as rings:
        async with asyncio.timeout(DEADLINE):
            await bell.connect()
        assert not bell.available
        bell.ring(STATUS_CHANNEL, b"lost")
        crashing_redis.start()
        await heard_until(rings, b"")
        assert (await ring_until_heard(bell, rings, b"found"))[-1] == b"found"
        await bell.close()
