"""A chain says of each provider whether it had its turn, and why not."""

import asyncio
from datetime import timedelta

import pytest

from domain.reasons import PassedOver, Step
from tests.unit.test_resilience import (
    ACCEPTED,
    NOW,
    OUTAGE,
    Clock,
    Provider,
    call,
    chain_of,
)
from workers.pacing import Pace, Rate
from workers.resilience import Breaker, ProviderChain


async def test_the_first_one_that_takes_it_is_the_last_that_had_a_turn() -> None:
    chained = await call(chain_of(Provider("first", ACCEPTED), Provider("second", ACCEPTED)))
    assert chained.steps == (Step(provider="first"),)


async def test_one_that_failed_is_followed_by_the_next() -> None:
    chained = await call(chain_of(Provider("first", OUTAGE), Provider("second", ACCEPTED)))
    assert chained.steps == (Step(provider="first"), Step(provider="second"))


async def test_an_open_breaker_is_named_with_its_end_and_then_its_probe() -> None:
    clock = Clock()
    breakers = {"first": Breaker("first", fail_max=1, reset_after=30.0, clock=clock), "second": Breaker("second")}
    providers = [Provider("first", OUTAGE), Provider("second", ACCEPTED)]
    chain = ProviderChain(providers, breakers, clock=lambda: NOW)
    await call(chain)
    clock.now += 10
    until = NOW + timedelta(seconds=20)
    passed = Step(provider="first", passed_over=PassedOver.BREAKER_OPEN, until=until)
    assert (await call(chain)).steps == (passed, Step(provider="second"))
    clock.now += 20
    assert (await call(chain)).steps == (Step(provider="first", probe=True), Step(provider="second"))


async def test_who_comes_while_another_call_is_the_probe_passes_it_over() -> None:
    clock = Clock()
    breaker = Breaker("first", fail_max=1, reset_after=30.0, clock=clock)
    chain = ProviderChain([Provider("first", OUTAGE)], {"first": breaker}, clock=lambda: NOW)
    await call(chain)
    clock.now += 30
    begun, ended = asyncio.Event(), asyncio.Event()

    async def probe() -> bool:
        begun.set()
        return await ended.wait()

    breaker.is_outage = lambda answer: answer is OUTAGE
    async with asyncio.TaskGroup() as group:
        group.create_task(breaker.call(probe))
        await begun.wait()
        assert (await call(chain)).steps == (Step(provider="first", passed_over=PassedOver.PROBED),)
        ended.set()


async def test_a_pace_without_room_is_named_with_the_next_room() -> None:
    clock = Clock()
    pace = Pace(Rate(1, 4.0), clock)
    chain = ProviderChain(
        [Provider("first", ACCEPTED)], {"first": Breaker("first")}, clock=lambda: NOW, paces={"first": pace}
    )
    assert (await call(chain)).steps == (Step(provider="first"),)
    until = NOW + timedelta(seconds=4)
    assert (await call(chain)).steps == (Step(provider="first", passed_over=PassedOver.PACE, until=until),)


async def test_one_that_does_not_serve_the_device_is_said_so() -> None:
    chain = chain_of(Provider("first", ACCEPTED), Provider("second", ACCEPTED))
    chained = await chain.call(
        lambda provider, left: provider.send(left), 10.0, number=1, among=lambda provider: provider.name == "second"
    )
    assert chained.steps == (Step(provider="first", passed_over=PassedOver.NOT_SERVED), Step(provider="second"))


@pytest.mark.parametrize("deadline", [0.0, 0.5])
async def test_one_that_no_time_was_left_for_is_said_so(deadline: float) -> None:
    chained = await call(chain_of(Provider("first", OUTAGE), Provider("second", ACCEPTED)), deadline)
    assert chained.steps[-1].passed_over is PassedOver.NO_TIME
