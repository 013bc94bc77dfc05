"""What the sandbox says of a notification after it has taken it, as providers and devices do by their callbacks."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from domain.callbacks import Callback, Callbacks
from domain.concurrency import Tasks, backoff
from domain.errors import Unavailable
from workers.sandbox.fates import Later

log = logging.getLogger(__name__)

PROVIDER = "sandbox"
PAUSE_SECONDS = 2.0
MAX_WAITING = 1_000
MAX_ATTEMPTS = 10


class Afterwards:
    """Tells whoever takes callbacks, one thing every `pause` seconds. While nobody does, nothing is ever said.

    It keeps up to `waiting` notifications in mind; what it is asked to say of more it forgets, and so does a restart.
    """

    def __init__(
        self, callbacks: Callbacks | None = None, *, pause: float = PAUSE_SECONDS, waiting: int = MAX_WAITING
    ) -> None:
        self._callbacks, self._pause, self._waiting = callbacks, pause, waiting
        self._in_mind = 0
        self._tasks = Tasks()

    def tell(self, callbacks: Callbacks | None) -> None:
        """Tell these from now on."""
        self._callbacks = callbacks

    def expect(self, notification_id: str, later: Sequence[Later]) -> None:
        """Say all this of a notification, in this order, after a while. Returns at once."""
        if self._callbacks is None or not later:
            return
        if self._in_mind >= self._waiting:
            log.warning("the sandbox forgets what it was to say of %s: %d wait", notification_id, self._in_mind)
            return
        self._in_mind += 1
        _ = self._tasks.start(f"afterwards:{notification_id}", self._tell(self._callbacks, notification_id, later))

    async def stop(self) -> None:
        """Say no more, of what is in mind and of what comes. May be called twice."""
        self._callbacks = None
        await self._tasks.cancel()

    async def _tell(self, callbacks: Callbacks, notification_id: str, later: Sequence[Later]) -> None:
        try:
            for each in later:
                await asyncio.sleep(self._pause)
                await _record(callbacks, _callback(notification_id, each))
        finally:
            self._in_mind -= 1


def _callback(notification_id: str, later: Later) -> Callback:
    return Callback(
        notification_id=notification_id,
        kind=later.kind,
        occurred_at=datetime.now(UTC),
        provider=PROVIDER,
        permanent=later.permanent,
        code=later.code,
        reason=later.reason,
    )


async def _record(callbacks: Callbacks, callback: Callback) -> None:
    async for attempt in backoff(first=0.2, limit=5.0):
        try:
            return await callbacks.record([callback])
        except Unavailable as error:
            if attempt >= MAX_ATTEMPTS:
                log.warning("the sandbox gives up saying %s of %s: %s", callback.kind, callback.notification_id, error)
                return None
    return None
