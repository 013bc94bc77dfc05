"""Whether to try again, and when."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.notification import Outcome
from domain.retry import MAX_RETRY_AFTER, AfterUnknown, GiveUp, RetryAfter, RetryPolicy

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
