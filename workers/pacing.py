"""How fast a provider may be called: a token bucket per provider and process."""

import time
from collections.abc import Callable

import msgspec

MAX_TURN = 60.0
"""Nobody is told to come back later than in so many seconds: by then much has changed."""


class Rate(msgspec.Struct, frozen=True):
    """So many calls (at least one) in so many seconds."""

    calls: int
    seconds: float


class Pace:
    """Lets calls through at an even rate, and after a pause up to a second's worth of them at once.

    `clock` is monotonic, in seconds. It counts for this process alone: with n workers the provider sees n times the
    rate.
    """

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = rate.calls / rate.seconds
        self._most = max(1.0, min(float(rate.calls), self._per_second))
        self._tokens = self._most
        self._clock = clock
        self._seen_at = clock()
        self._promised_until = self._seen_at

    def take(self) -> bool:
        """Whether a call may be made now; if so it is counted."""
        self._refill()
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def wait(self) -> float:
        """Seconds until a call may be made, as far as can be told now; 0 if one may."""
        self._refill()
        return max(0.0, 1.0 - self._tokens) / self._per_second

    def turn(self) -> float:
        """The seconds after which to come back, for one who was refused: each next one is told a later time.

        So those that wait come back at the rate at which they can go, and not all of them for every single call.
        """
        now = self._clock()
        latest = now + MAX_TURN
        turn = min(max(now + self.wait(), self._promised_until), latest)
        self._promised_until = min(turn + 1.0 / self._per_second, latest)
        return turn - now

    def _refill(self) -> None:
        now = self._clock()
        self._tokens = min(self._most, self._tokens + (now - self._seen_at) * self._per_second)
        self._seen_at = now
