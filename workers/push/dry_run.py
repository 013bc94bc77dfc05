"""Whether a push provider knows a device token, asked when the device registers (FCM's `validate_only`)."""

from domain.notification import Outcome
from domain.recipient import Device
from workers.push.fcm import FcmProvider
from workers.resilience import Breaker, BreakerOpenError

DEADLINE = 1.0
"""Seconds that a registration may wait for it; whoever registers has no more than two."""
FAILURES, PAUSE = 3, 30.0
_ABOUT_THE_TOKEN = frozenset({"UNREGISTERED", "SENDER_ID_MISMATCH", "INVALID_ARGUMENT"})


class DryRun:
    """Asks FCM about tokens. Nobody is kept from registering because FCM is away: then it is not asked for a while."""

    def __init__(self, provider: FcmProvider, *, deadline: float = DEADLINE) -> None:
        self._provider, self._deadline = provider, deadline
        self._breaker = Breaker("fcm dry run", fail_max=FAILURES, reset_after=PAUSE)

    async def problem(self, token: str) -> str | None:
        """What is wrong with a token, within the deadline; None when nothing is, or nobody can tell. Never raises."""
        device = Device(id=None, token=token)
        if not self._provider.serves(device):
            return None
        try:
            answer = await self._breaker.call(lambda: self._provider.verify(device, self._deadline))
        except BreakerOpenError:
            return None
        known = answer.outcome is not Outcome.PERMANENT or answer.code not in _ABOUT_THE_TOKEN
        return None if known else "is not a token that the push provider knows"
