"""What a client of another service remembers, with a clock of our own."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from api.client_cache import ClientCache
from domain.errors import NotFound, UpstreamUnavailable


class Service:
    """Answers with `value`, counts its calls, and may be away or hold its answer back."""

    def __init__(self) -> None:
        self.value, self.calls = "old", 0
        self.error: Exception | None = None
        self.answer = asyncio.Event()
        self.answer.set()

    async def load(self) -> str:
        self.calls += 1
        value, error = self.value, self.error
        await self.answer.wait()
        if error is not None:
            raise error
        return value


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> ClientCache[str, str]:
    return ClientCache(size=2, ttl=2.0, stale=100.0, clock=clock)


async def test_a_value_is_asked_for_again_when_it_is_no_longer_fresh(
    cache: ClientCache[str, str], clock: Clock
) -> None:
    service = Service()
    assert await cache.get("k", service.load) == "old"
    service.value = "new"
    clock.now = 1.9
    assert await cache.get("k", service.load) == "old"
    clock.now = 2.0
    assert await cache.get("k", service.load) == "new"
    assert service.calls == 2


async def test_while_the_service_is_away_it_is_asked_once_a_moment(cache: ClientCache[str, str], clock: Clock) -> None:
    service = Service()
    await cache.get("k", service.load)
    service.error = UpstreamUnavailable("away")
    clock.now = 10.0
    assert [await cache.get("k", service.load) for _ in range(5)] == ["old"] * 5
    assert service.calls == 2
    clock.now = 102.0
    with pytest.raises(UpstreamUnavailable):
        await cache.get("k", service.load)


async def test_what_is_gone_is_not_served_stale(cache: ClientCache[str, str], clock: Clock) -> None:
    service = Service()
    await cache.get("k", service.load)
    clock.now = 3.0
    for error in (NotFound("thing", "k"), UpstreamUnavailable("away")):
        service.error = error
        with pytest.raises(type(error)):
            await cache.get("k", service.load)


async def test_an_answer_that_was_asked_for_before_a_change_is_not_kept(cache: ClientCache[str, str]) -> None:
    service = Service()
    service.answer.clear()
    asking = asyncio.create_task(cache.get("k", service.load))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert service.calls == 1
    service.value = "new"
    cache.drop("k")
    service.answer.set()
    assert await asking == "old"
    assert await cache.get("k", service.load) == "new"


async def test_only_so_many_are_remembered(cache: ClientCache[str, str]) -> None:
    service = Service()
    for key in ("a", "b", "a", "c", "a"):
        await cache.get(key, service.load)
    assert service.calls == 3
    assert cache.fresh("b") is None


@pytest.mark.parametrize("error", [UpstreamUnavailable("away"), NotFound("thing", "k")])
async def test_all_who_wait_are_told_of_a_failure(cache: ClientCache[str, str], error: Exception) -> None:
    service = Service()
    service.error = error
    load: Callable[[], Awaitable[str]] = service.load
    outcomes = await asyncio.gather(*(cache.get("k", load) for _ in range(3)), return_exceptions=True)
    assert outcomes == [error] * 3
    assert service.calls == 1
