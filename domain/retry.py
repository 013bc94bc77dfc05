"""Whether to try again, and when: a pure decision.

The schedule is exponential by default (2 s, 10 s, 1 min, 5 min, 30 min): the n-th wait follows the n-th attempt that
was used up, and when the schedule is exhausted we give up. What the provider asks for (Retry-After) is honoured when
it is longer. Jitter spreads a storm of failures and never shortens a wait.
"""

from collections.abc import Callable
from enum import StrEnum
from random import random

import msgspec

from domain.notification import Outcome

DEFAULT_SCHEDULE = (2.0, 10.0, 60.0, 300.0, 1800.0)
MAX_RETRY_AFTER = 24 * 3600.0


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
        wait = self.schedule[attempts_used - 1] * (1 + self.jitter * self.randomness())
        return RetryAfter(max(wait, min(retry_after or 0.0, MAX_RETRY_AFTER)))
