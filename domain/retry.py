"""Whether to try again, and when: a pure decision.

The schedule is exponential by default (2 s, 10 s, 1 min, 5 min, 30 min): the n-th wait follows the n-th attempt that
was used up, and when the schedule is exhausted we give up. What the provider asks for (Retry-After) is honoured when
it is longer. Jitter spreads a storm of failures and never shortens a wait.

A provider's rate limit says nothing about the notification: it is put off and no attempt is used. So that a provider
that limits for ever does not keep it for ever, only the first `MAX_PUT_OFFS` are free; after them a rate limit uses an
attempt like any other failure, and the schedule ends it.
"""

from collections.abc import Callable
from enum import StrEnum
from random import random

import msgspec

from domain.notification import Outcome

DEFAULT_SCHEDULE = (2.0, 10.0, 60.0, 300.0, 1800.0)
MAX_RETRY_AFTER = 24 * 3600.0
MAX_PUT_OFFS = 100
"""How many claims of a notification may end without using an attempt before a rate limit uses one."""
PUT_OFF = 60.0
"""Seconds that a rate limit lasts when the provider does not say; never more than the longest wait of the schedule."""


class AfterUnknown(StrEnum):
    """What to do when a provider may have taken a notification and we cannot know."""

    RESEND = "resend"
    HOLD = "hold"


class RetryAfter(msgspec.Struct, frozen=True):
    """Try again after `seconds`."""

    seconds: float


class GiveUp(msgspec.Struct, frozen=True):
    """Do not try again; `code` and `reason` say why."""

    code: str
    reason: str


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often and when. `jitter` is the largest share of a wait that is added to it."""

    schedule: tuple[float, ...] = DEFAULT_SCHEDULE
    jitter: float = 0.1
    after_unknown: AfterUnknown = AfterUnknown.RESEND
    randomness: Callable[[], float] = random

    @property
    def max_attempts(self) -> int:
        """The first attempt and one more for each wait."""
        return len(self.schedule) + 1

    def decide(self, attempts_used: int, outcome: Outcome, retry_after: float | None = None) -> RetryAfter | GiveUp:
        """What follows the attempt that just ended; `attempts_used` counts it. `outcome` is not ACCEPTED."""
        if outcome is Outcome.PERMANENT:
            return GiveUp("permanent", "The provider refused it for good.")
        if outcome is Outcome.UNKNOWN and self.after_unknown is AfterUnknown.HOLD:
            return GiveUp("outcome_unknown", "The provider may have taken it; it is held instead of being sent twice.")
        if attempts_used >= self.max_attempts:
            return GiveUp("attempts_used_up", f"All {self.max_attempts} attempts are used up.")
        return self._after(self.schedule[attempts_used - 1], retry_after)

    def put_off(self, put_offs: int, retry_after: float | None = None) -> RetryAfter | None:
        """What follows a rate limit; None when it uses an attempt after all. `put_offs` is how often it was free.

        Never sooner than the first wait, whatever the provider says. Without a schedule nothing is tried again, so
        nothing is put off either.
        """
        if not self.schedule or put_offs >= MAX_PUT_OFFS:
            return None
        wait = min(PUT_OFF, max(self.schedule)) if retry_after is None else self.schedule[0]
        return self._after(wait, retry_after)

    def _after(self, wait: float, retry_after: float | None) -> RetryAfter:
        """With jitter; what the provider asks for where that is longer."""
        return RetryAfter(max(wait * (1 + self.jitter * self.randomness()), min(retry_after or 0.0, MAX_RETRY_AFTER)))
