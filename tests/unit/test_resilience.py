"""Breakers and provider chains: what opens them, who gets through, and when the next provider is asked."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from domain.notification import Outcome
from domain.outgoing import Answer
from workers.resilience import Breaker, BreakerOpenError, BreakerState, Chained, ProviderChain, is_outage

NOW = datetime(2025, 3, 1, tzinfo=UTC)
ACCEPTED = Answer(outcome=Outcome.ACCEPTED)
OUTAGE = Answer(outcome=Outcome.TRANSIENT, code="connect_failed")
GREYLISTED = Answer(outcome=Outcome.TRANSIENT, code="4.7.1")
REFUSED = Answer(outcome=Outcome.PERMANENT, code="5.1.1")
UNKNOWN = Answer(outcome=Outcome.UNKNOWN, code="timeout")


class Clock:
    """A monotonic clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Provider:
    """Gives its answers in turn, the last one for ever; counts the calls."""

    def __init__(self, name: str, *answers: Answer | Exception) -> None:
        self.name = name
        self.calls = 0
        self.deadlines: list[float] = []
        self._answers = answers

    async def send(self, deadline: float) -> Answer:
        answer = self._answers[min(self.calls, len(self._answers) - 1)]
        self.calls += 1
        self.deadlines.append(deadline)
        if isinstance(answer, Exception):
            raise answer
        return answer


def answering(answer: Answer) -> Callable[[], Awaitable[Answer]]:
    async def call() -> Answer:
        return answer

    return call


async def fail() -> Answer:
    raise LookupError("the real error")


def state(breaker: Breaker) -> str:
    return breaker.state.value


async def under_way(breaker: Breaker, answer: "asyncio.Future[Answer]") -> "asyncio.Task[Answer]":
    """A call that has begun and waits for its answer."""
    begun = asyncio.Event()

    async def wait() -> Answer:
        begun.set()
        return await answer

    task = asyncio.create_task(breaker.call(wait))
    await begun.wait()
    return task


async def opened(clock: Clock, **settings: float) -> Breaker:
    breaker = Breaker("smtp", fail_max=2, clock=clock, **settings)  # type: ignore[arg-type]
    for _ in range(2):
        assert await breaker.call(answering(OUTAGE)) == OUTAGE
    assert state(breaker) == "OPEN"
    return breaker


@pytest.mark.parametrize(
    ("outcome", "code", "expected"),
    [
        (Outcome.ACCEPTED, "250", False),
        (Outcome.PERMANENT, "5.1.1", False),
        (Outcome.UNKNOWN, "timeout", True),
        (Outcome.TRANSIENT, "connect_failed", True),
        (Outcome.TRANSIENT, "421", True),
        (Outcome.TRANSIENT, "503", True),
        (Outcome.TRANSIENT, None, True),
        (Outcome.TRANSIENT, "4.3.2", True),
        (Outcome.TRANSIENT, "QUOTA_EXCEEDED", True),
        (Outcome.TRANSIENT, "4.2.2", False),
        (Outcome.TRANSIENT, "4.7.1", False),
        (Outcome.TRANSIENT, "450", False),
    ],
)
def test_an_outage_is_told_from_a_recipient_who_cannot_take_it_now(
    outcome: Outcome, code: str | None, expected: bool
) -> None:
    assert is_outage(Answer(outcome=outcome, code=code)) is expected


async def test_outages_in_a_row_open_it_and_every_answer_comes_out() -> None:
    breaker = Breaker("smtp", fail_max=3, clock=Clock())
    for _ in range(3):
        assert breaker.allows()
        assert await breaker.call(answering(OUTAGE)) == OUTAGE
    assert state(breaker) == "OPEN"
    with pytest.raises(BreakerOpenError):
        await breaker.call(answering(ACCEPTED))


async def test_a_good_answer_in_between_starts_the_count_again() -> None:
    breaker = Breaker("smtp", fail_max=2, clock=Clock())
    for answer in (OUTAGE, ACCEPTED, OUTAGE, REFUSED, OUTAGE, GREYLISTED, OUTAGE):
        assert await breaker.call(answering(answer)) == answer
    assert state(breaker) == "CLOSED"


async def test_recipients_who_refuse_never_open_it() -> None:
    breaker = Breaker("smtp", fail_max=2, clock=Clock())
    for answer in (REFUSED, GREYLISTED) * 5:
        await breaker.call(answering(answer))
    assert state(breaker) == "CLOSED"


async def test_the_real_error_comes_out_of_the_call_that_trips_it_too() -> None:
    breaker = Breaker("smtp", fail_max=2, clock=Clock())
    for _ in range(2):
        with pytest.raises(LookupError, match="the real error"):
            await breaker.call(fail)
    assert state(breaker) == "OPEN"


async def test_retry_in_counts_down_on_the_monotonic_clock() -> None:
    clock = Clock()
    breaker = await opened(clock, reset_after=30.0)
    assert breaker.retry_in() == 30.0
    clock.now += 20
    assert breaker.retry_in() == 10.0
    assert not breaker.allows()
    clock.now += 10
    assert breaker.retry_in() == 0.0
    assert breaker.allows()


async def test_half_open_lets_one_probe_through_and_no_other() -> None:
    clock = Clock()
    breaker = await opened(clock, reset_after=30.0)
    clock.now += 30
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    probe = await under_way(breaker, answer)
    assert state(breaker) == "HALF_OPEN"
    assert not breaker.allows()
    assert breaker.retry_in() > 0
    with pytest.raises(BreakerOpenError):
        await breaker.call(answering(ACCEPTED))
    answer.set_result(ACCEPTED)
    assert await probe == ACCEPTED
    assert state(breaker) == "CLOSED"


async def test_a_probe_that_fails_opens_it_for_another_period() -> None:
    clock = Clock()
    breaker = await opened(clock, reset_after=30.0)
    clock.now += 31
    assert await breaker.call(answering(OUTAGE)) == OUTAGE
    assert state(breaker) == "OPEN"
    assert breaker.retry_in() == 30.0


async def test_a_cancelled_probe_leaves_the_way_free_for_the_next() -> None:
    clock = Clock()
    breaker = await opened(clock, reset_after=30.0)
    clock.now += 30
    probe = await under_way(breaker, asyncio.get_running_loop().create_future())
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert breaker.allows()
    await breaker.call(answering(ACCEPTED))
    assert state(breaker) == "CLOSED"


async def test_late_failures_of_earlier_calls_do_not_push_the_probe_out() -> None:
    clock = Clock()
    breaker = Breaker("smtp", fail_max=2, reset_after=30.0, clock=clock)
    late: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    straggler = await under_way(breaker, late)
    for _ in range(2):
        await breaker.call(answering(OUTAGE))
    clock.now += 20
    late.set_result(OUTAGE)
    assert await straggler == OUTAGE
    assert breaker.retry_in() == 10.0


async def test_changes_are_told_once_each() -> None:
    clock = Clock()
    told: list[tuple[str, BreakerState]] = []
    breaker = Breaker("smtp", fail_max=1, clock=clock, on_change=lambda name, state: told.append((name, state)))
    await breaker.call(answering(OUTAGE))
    clock.now += 30
    await breaker.call(answering(ACCEPTED))
    await breaker.call(answering(ACCEPTED))
    assert told == [("smtp", BreakerState.OPEN), ("smtp", BreakerState.HALF_OPEN), ("smtp", BreakerState.CLOSED)]


def chain_of(*providers: Provider, fail_max: int = 5) -> ProviderChain[Provider]:
    breakers = {provider.name: Breaker(provider.name, fail_max=fail_max) for provider in providers}
    return ProviderChain(providers, breakers, clock=lambda: NOW)


async def call(chain: ProviderChain[Provider], deadline: float = 10.0) -> Chained:
    return await chain.call(lambda provider, left: provider.send(left), deadline, number=3, device_id="dev_1")


async def test_the_first_provider_is_asked_first_and_its_call_is_recorded() -> None:
    first, second = Provider("first", ACCEPTED), Provider("second", ACCEPTED)
    chained = await call(chain_of(first, second))
    assert chained.answer == ACCEPTED
    assert chained.provider == "first"
    assert second.calls == 0
    (attempt,) = chained.attempts
    assert (attempt.number, attempt.provider, attempt.device_id) == (3, "first", "dev_1")
    assert (attempt.outcome, attempt.started_at) == (Outcome.ACCEPTED, NOW)


async def test_an_outage_leads_to_the_next_provider_with_the_time_that_is_left() -> None:
    first, second = Provider("first", OUTAGE), Provider("second", ACCEPTED)
    chained = await call(chain_of(first, second), deadline=10.0)
    assert chained.provider == "second"
    assert [(attempt.provider, attempt.outcome) for attempt in chained.attempts] == [
        ("first", Outcome.TRANSIENT),
        ("second", Outcome.ACCEPTED),
    ]
    assert second.deadlines[0] <= 10.0


@pytest.mark.parametrize("answer", [UNKNOWN, REFUSED, GREYLISTED])
async def test_what_may_have_been_sent_or_is_the_recipients_fault_never_fails_over(answer: Answer) -> None:
    first, second = Provider("first", answer), Provider("second", ACCEPTED)
    chained = await call(chain_of(first, second))
    assert chained.answer == answer
    assert chained.provider == "first"
    assert second.calls == 0


async def test_when_all_are_out_the_last_answer_stands() -> None:
    chained = await call(chain_of(Provider("first", OUTAGE), Provider("second", OUTAGE)))
    assert chained.answer == OUTAGE
    assert chained.provider == "second"
    assert len(chained.attempts) == 2


async def test_without_time_left_there_is_no_failover() -> None:
    first, second = Provider("first", OUTAGE), Provider("second", ACCEPTED)
    chained = await call(chain_of(first, second), deadline=0.5)
    assert chained.provider == "first"
    assert second.calls == 0


async def test_an_open_breaker_is_passed_over() -> None:
    first, second = Provider("first", OUTAGE), Provider("second", ACCEPTED)
    chain = chain_of(first, second, fail_max=1)
    await call(chain)
    chained = await call(chain)
    assert first.calls == 1
    assert [attempt.provider for attempt in chained.attempts] == ["second"]


@pytest.mark.parametrize("outage", [OUTAGE, UNKNOWN])
async def test_who_was_waited_for_in_vain_is_not_waited_for_again(outage: Answer) -> None:
    first, second = Provider("first", outage), Provider("second", ACCEPTED)
    breakers = {name: Breaker(name, fail_max=5) for name in ("first", "second")}
    chain = ProviderChain([first, second], breakers, clock=lambda: NOW, costly=0.0)
    await call(chain)
    chained = await call(chain)
    assert (chained.provider, first.calls) == ("second", 1)


@pytest.mark.parametrize(
    ("answer", "costly", "others"),
    [(OUTAGE, 60.0, 1), (GREYLISTED, 0.0, 1), (ACCEPTED, 0.0, 1), (OUTAGE, 0.0, 0)],
    ids=["it took no time", "the recipient", "a success", "nobody stands behind"],
)
async def test_otherwise_only_outages_in_a_row_open_a_breaker(answer: Answer, costly: float, others: int) -> None:
    first, seconds = Provider("first", answer), [Provider("second", ACCEPTED)] * others
    breakers = {name: Breaker(name, fail_max=5) for name in ("first", "second")}
    chain = ProviderChain([first, *seconds], breakers, clock=lambda: NOW, costly=costly)
    for _ in range(4):
        await call(chain)
    assert first.calls == 4


async def test_with_all_breakers_open_nothing_is_tried_and_it_says_when_to_come_back() -> None:
    first = Provider("first", OUTAGE)
    chain = chain_of(first, fail_max=1)
    await call(chain)
    chained = await call(chain)
    assert chained.answer is None
    assert chained.attempts == ()
    assert chained.retry_in is not None
    assert 0 < chained.retry_in <= 30
    assert first.calls == 1


async def test_a_provider_that_raises_may_have_sent_it() -> None:
    first, second = Provider("first", RuntimeError("a bug")), Provider("second", ACCEPTED)
    chained = await call(chain_of(first, second))
    assert chained.answer is not None
    assert chained.answer.outcome is Outcome.UNKNOWN
    assert "a bug" not in (chained.answer.detail or "")
    assert second.calls == 0


async def test_a_provider_that_overruns_its_deadline_may_have_sent_it() -> None:
    provider = Provider("first", ACCEPTED)
    chain = ProviderChain([provider], {"first": Breaker("first")}, clock=lambda: NOW, grace=0.0)

    async def overrun(provider: Provider, left: float) -> Answer:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    chained = await chain.call(overrun, 0.01, number=1)
    assert chained.answer is not None
    assert chained.answer.outcome is Outcome.UNKNOWN


def test_a_chain_needs_a_provider() -> None:
    with pytest.raises(ValueError, match="provider"):
        chain_of()
