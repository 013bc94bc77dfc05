"""Whether to try again, and when."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.notification import Outcome
from domain.retry import MAX_PUT_OFFS, MAX_RETRY_AFTER, PUT_OFF, AfterUnknown, GiveUp, RetryAfter, RetryPolicy

schedules = st.lists(st.floats(0.1, 3600), min_size=1, max_size=6).map(tuple)
retried = st.sampled_from([Outcome.TRANSIENT, Outcome.UNKNOWN])


def policy(**changes: Any) -> RetryPolicy:
    settings: dict[str, Any] = {"schedule": (2.0, 10.0), "jitter": 0.0}
    return RetryPolicy(**(settings | changes))


@pytest.mark.parametrize(("attempts_used", "seconds"), [(1, 2.0), (2, 10.0)])
def test_each_attempt_that_is_used_up_is_followed_by_its_wait(attempts_used: int, seconds: float) -> None:
    assert policy().decide(attempts_used, Outcome.TRANSIENT) == RetryAfter(seconds)


@pytest.mark.parametrize("outcome", [Outcome.TRANSIENT, Outcome.UNKNOWN])
def test_when_the_schedule_is_exhausted_we_give_up(outcome: Outcome) -> None:
    assert policy().max_attempts == 3
    assert policy().decide(3, outcome) == GiveUp("attempts_used_up", "All 3 attempts are used up.")


def test_without_a_schedule_there_is_one_attempt() -> None:
    assert isinstance(policy(schedule=()).decide(1, Outcome.TRANSIENT), GiveUp)


def test_the_default_is_the_documented_schedule() -> None:
    assert RetryPolicy().schedule == (2.0, 10.0, 60.0, 300.0, 1800.0)


def test_a_permanent_refusal_is_not_tried_again() -> None:
    verdict = policy().decide(1, Outcome.PERMANENT, retry_after=5.0)
    assert isinstance(verdict, GiveUp)
    assert verdict.code == "permanent"


def test_an_unknown_outcome_is_resent_or_held_as_the_policy_says() -> None:
    assert policy().decide(1, Outcome.UNKNOWN) == RetryAfter(2.0)
    verdict = policy(after_unknown=AfterUnknown.HOLD).decide(1, Outcome.UNKNOWN)
    assert isinstance(verdict, GiveUp)
    assert verdict.code == "outcome_unknown"


def test_holding_does_not_touch_transient_failures() -> None:
    assert policy(after_unknown=AfterUnknown.HOLD).decide(1, Outcome.TRANSIENT) == RetryAfter(2.0)


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [(None, 2.0), (0.0, 2.0), (1.0, 2.0), (90.0, 90.0), (-5.0, 2.0), (math.inf, MAX_RETRY_AFTER), (math.nan, 2.0)],
)
def test_what_the_provider_asks_for_counts_when_it_is_longer(retry_after: float | None, seconds: float) -> None:
    assert policy().decide(1, Outcome.TRANSIENT, retry_after) == RetryAfter(seconds)


@given(schedule=schedules, jitter=st.floats(0, 1), chance=st.floats(0, 1, exclude_max=True), outcome=retried)
def test_jitter_lengthens_a_wait_by_its_share_at_most(
    schedule: tuple[float, ...], jitter: float, chance: float, outcome: Outcome
) -> None:
    jittered = RetryPolicy(schedule=schedule, jitter=jitter, randomness=lambda: chance)
    for attempts_used, wait in enumerate(schedule, start=1):
        verdict = jittered.decide(attempts_used, outcome)
        assert isinstance(verdict, RetryAfter)
        assert wait <= verdict.seconds <= wait * (1 + jitter)


class TestPutOff:
    """What follows a provider's rate limit."""

    def test_the_provider_s_word_counts_but_never_less_than_the_first_wait(self) -> None:
        assert policy().put_off(0, 90.0) == RetryAfter(90.0)
        assert policy().put_off(0, 0.0) == RetryAfter(2.0)
        assert policy().put_off(0, math.inf) == RetryAfter(MAX_RETRY_AFTER)

    def test_without_the_provider_s_word_it_is_a_minute_or_the_longest_wait(self) -> None:
        assert RetryPolicy(jitter=0.0).put_off(0) == RetryAfter(PUT_OFF)
        assert policy().put_off(0) == RetryAfter(10.0)

    def test_it_is_free_so_many_times_and_not_once_more(self) -> None:
        assert policy().put_off(MAX_PUT_OFFS - 1) is not None
        assert policy().put_off(MAX_PUT_OFFS) is None

    def test_without_a_schedule_nothing_is_put_off(self) -> None:
        assert policy(schedule=()).put_off(0, 5.0) is None

    def test_a_provider_that_limits_for_ever_is_given_up(self) -> None:
        attempt = attempts_used = 0
        while True:
            attempt += 1
            if policy().put_off(attempt - 1 - attempts_used) is not None:
                continue
            attempts_used += 1
            if isinstance(policy().decide(attempts_used, Outcome.TRANSIENT), GiveUp):
                break
        assert (attempt, attempts_used) == (MAX_PUT_OFFS + policy().max_attempts, policy().max_attempts)
