"""The turnstile: one after the other, not too fast, and slower when there is much else to do."""

import asyncio

import pytest

from api.turnstile import Turnstile
from tests.unit.virtual_time import in_virtual_time

PAUSE = 0.01


class Crowd:
    """Callers who note when they passed."""

    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile
        self.passed: list[tuple[int, float]] = []

    def knock(self, number: int) -> bool:
        return self._turnstile.knock(lambda: self.passed.append((number, asyncio.get_running_loop().time())))


@in_virtual_time
async def test_who_comes_alone_passes_at_once() -> None:
    crowd = Crowd(Turnstile(1 / PAUSE))
    for number in range(3):
        assert crowd.knock(number)
        assert len(crowd.passed) == number + 1
        await asyncio.sleep(PAUSE)


@in_virtual_time
async def test_a_crowd_passes_in_the_order_of_its_coming_so_many_a_second() -> None:
    crowd = Crowd(Turnstile(1 / PAUSE))
    assert all(crowd.knock(number) for number in range(100))
    await asyncio.sleep(2 * 100 * PAUSE)
    assert [number for number, _ in crowd.passed] == list(range(100))
    times = [time for _, time in crowd.passed]
    assert times == pytest.approx([number * PAUSE for number in range(100)])


@in_virtual_time
async def test_after_a_crowd_it_is_as_before() -> None:
    crowd = Crowd(Turnstile(1 / PAUSE))
    for number in range(5):
        crowd.knock(number)
    await asyncio.sleep(10 * PAUSE)
    crowd.knock(5)
    assert len(crowd.passed) == 6


@in_virtual_time
async def test_when_it_is_called_late_the_rest_gets_as_long_again() -> None:
    crowd = Crowd(Turnstile(1 / PAUSE))
    for number in range(3):
        crowd.knock(number)
    loop = asyncio.get_running_loop()
    loop._advance(5 * PAUSE)  # type: ignore[attr-defined]  # the loop was busy: nobody was called in this time
    await asyncio.sleep(PAUSE)
    assert len(crowd.passed) == 2
    await asyncio.sleep(20 * PAUSE)
    (_, second), (_, third) = crowd.passed[1:]
    assert third - second == pytest.approx(PAUSE + 4 * PAUSE)


@in_virtual_time
async def test_beyond_its_bound_nobody_waits() -> None:
    crowd = Crowd(Turnstile(1 / PAUSE, waiting=2))
    assert [crowd.knock(number) for number in range(5)] == [True, True, True, False, False]
    await asyncio.sleep(10 * PAUSE)
    assert [number for number, _ in crowd.passed] == [0, 1, 2]


@in_virtual_time
async def test_a_caller_that_fails_does_not_hold_up_the_others() -> None:
    turnstile = Turnstile(1 / PAUSE)
    crowd = Crowd(turnstile)
    failed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context["exception"]))
    crowd.knock(0)
    turnstile.knock(_fail)
    crowd.knock(1)
    await asyncio.sleep(10 * PAUSE)
    assert [number for number, _ in crowd.passed] == [0, 1]
    assert [type(error) for error in failed] == [ZeroDivisionError]


def _fail() -> None:
    raise ZeroDivisionError
