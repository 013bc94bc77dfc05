"""How fast a provider may be called, by a clock of the test's own."""

from itertools import pairwise

import pytest

from domain.notification import Outcome
from domain.outgoing import Answer
from tests.unit.test_resilience import ACCEPTED, NOW, OUTAGE, Clock, Provider, call
from workers.pacing import MAX_TURN, Pace, Rate
from workers.resilience import Breaker, ProviderChain


def taken(pace: Pace, tries: int = 1000) -> int:
    return sum(pace.take() for _ in range(tries))


@pytest.mark.parametrize(
    ("rate", "at_once", "in_a_minute"),
    [
        (Rate(20, 1.0), 20, 1200),
        (Rate(600, 60.0), 10, 600),
        (Rate(30, 60.0), 1, 30),
        (Rate(1, 3600.0), 1, 0),
    ],
)
def test_a_seconds_worth_at_once_and_then_the_rate(rate: Rate, at_once: int, in_a_minute: int) -> None:
    clock = Clock()
    pace = Pace(rate, clock)
    assert taken(pace) == at_once
    count = 0
    for _ in range(6000):
        clock.now += 0.01
        count += taken(pace, 3)
    assert abs(count - in_a_minute) <= 1


def test_a_pause_saves_up_no_more_than_a_seconds_worth() -> None:
    clock = Clock()
    pace = Pace(Rate(600, 60.0), clock)
    clock.now += 3600.0
    assert taken(pace) == 10


def test_who_is_refused_is_told_when_and_each_one_a_later_time() -> None:
    clock = Clock()
    pace = Pace(Rate(10, 1.0), clock)
    taken(pace)
    turns = [pace.turn() for _ in range(50)]
    assert turns[0] == pytest.approx(0.1)
    assert all(later - earlier == pytest.approx(0.1) for earlier, later in pairwise(turns))
    for earlier, turn in pairwise([0.0, *turns]):
        clock.now += turn - earlier + 1e-6
        assert pace.take(), "who keeps to the turns is not refused again"


def test_no_turn_is_further_off_than_a_minute() -> None:
    pace = Pace(Rate(1, 60.0), Clock())
    taken(pace)
    assert max(pace.turn() for _ in range(1000)) == MAX_TURN


def test_turns_that_have_passed_are_forgotten() -> None:
    clock = Clock()
    pace = Pace(Rate(10, 1.0), clock)
    taken(pace)
    for _ in range(50):
        pace.turn()
    clock.now += 10.0
    assert pace.wait() == pace.turn() == 0.0


def chain(clock: Clock, *providers: Provider) -> ProviderChain[Provider]:
    """The first provider may be called twice a second, the others as often as one likes."""
    breakers = {provider.name: Breaker(provider.name, fail_max=1, clock=clock) for provider in providers}
    return ProviderChain(providers, breakers, clock=lambda: NOW, paces={providers[0].name: Pace(Rate(2, 1.0), clock)})


async def test_what_does_not_fit_goes_to_the_next_provider() -> None:
    first, second = Provider("first", ACCEPTED), Provider("second", ACCEPTED)
    limited = chain(Clock(), first, second)
    went = [(await call(limited)).provider for _ in range(5)]
    assert went == ["first", "first", "second", "second", "second"]


async def test_with_no_other_provider_nothing_is_tried_and_it_says_when_to_come_back() -> None:
    first = Provider("first", ACCEPTED)
    limited = chain(Clock(), first)
    chained = [await call(limited) for _ in range(4)]
    assert [one.answer is not None for one in chained] == [True, True, False, False]
    assert [one.retry_in for one in chained[2:]] == [pytest.approx(0.5), pytest.approx(1.0)]
    assert chained[2].attempts == ()
    assert first.calls == 2


async def test_a_call_that_the_breaker_stops_does_not_count() -> None:
    clock, first = Clock(), Provider("first", OUTAGE)
    limited = chain(clock, first)
    await call(limited)
    for _ in range(10):
        waiting = await call(limited)
        assert waiting.retry_in is not None
        assert waiting.retry_in >= 29.0
    clock.now += 30.0
    assert (await call(limited)).answer is not None
    assert first.calls == 2


async def test_an_outage_of_the_first_with_no_room_at_the_second_is_the_answer() -> None:
    first, second = Provider("first", OUTAGE), Provider("second", ACCEPTED)
    clock = Clock()
    breakers = {name: Breaker(name, fail_max=9, clock=clock) for name in ("first", "second")}
    pace = Pace(Rate(1, 60.0), clock)
    limited = ProviderChain([first, second], breakers, clock=lambda: NOW, paces={"second": pace})
    answers: list[Answer | None] = [(await call(limited)).answer for _ in range(2)]
    assert [answer.outcome for answer in answers if answer] == [Outcome.ACCEPTED, Outcome.TRANSIENT]
