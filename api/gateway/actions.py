"""What the gateway changes at once, by the same `record` as the relay: cancel and replay."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from api.gateway.dead_letters import Candidate, DeadLetterFilter, Refusal, SqlDeadLetters
from api.gateway.queries import Queries
from api.security import Principal
from domain.errors import NotFound, TooLate
from domain.events import StatusChanged
from domain.notification import Status
from domain.ports import LogRow, StatusStore
from domain.views import NotificationView

Announce = Callable[[list[LogRow]], None]
REPLAYS_AT_ONCE = 500
"""Dead letters that are replayed in one transaction."""


class CancelledTooLate(TooLate):
    """It can no longer be cancelled; `notification` is how it stands."""

    def __init__(self, notification: NotificationView, why: str) -> None:
        self.notification = notification
        super().__init__(f"It is too late to cancel: {why}.")


class Actions:
    """Changes that a caller asks for and that are answered at once. `announce` rings the bell after a commit."""

    def __init__(self, store: StatusStore, queries: Queries, announce: Announce) -> None:
        self._store = store
        self._queries = queries
        self._announce = announce

    async def cancel(self, id: str) -> NotificationView:
        """Cancel before an attempt begins: a compare-and-set (rule R7).

        Cancelling twice is one cancellation and answers the same. Raises `NotFound` and `CancelledTooLate`.
        """
        before = await self._known(id)
        if before.status is Status.CANCELLED:
            return before
        change = StatusChanged(
            notification_id=id,
            status=Status.CANCELLED,
            occurred_at=datetime.now(UTC),
            reason="Cancelled by the caller.",
        )
        recorded = await self._store.record([change])
        self._announce(recorded.rows)
        after = await self._known(id)
        if after.status is not Status.CANCELLED:
            raise CancelledTooLate(after, recorded.ignored[0][1] if recorded.ignored else "it has gone on")
        return after

    async def _known(self, id: str) -> NotificationView:
        view = await self._queries.notification(id)
        if view is None:
            raise NotFound("notification", id)
        return view


class Replayed(msgspec.Struct, kw_only=True):
    """What became of the dead letters that were to be replayed.

    They are given back over `seconds`, the oldest first. `more`: others can be replayed that the limit left out.
    """

    replayed: list[str] = []
    refused: dict[str, Refusal] = {}
    seconds: float = 0.0
    more: bool = False


class Replays:
    """Starts FAILED notifications again, by their dead letters (rule R9).

    Replaying a letter twice, or twice at once, is replaying it once. `announce` is told after each commit: it rings
    the bell and wakes the dispatcher. `rate` is how many a second are given back where many are replayed.
    """

    def __init__(self, letters: SqlDeadLetters, store: StatusStore, announce: Announce, *, rate: int) -> None:
        self._letters = letters
        self._store = store
        self._announce = announce
        self._rate = rate

    async def replay(self, ids: Sequence[str], by: Principal) -> Replayed:
        """These letters, at once, in one transaction for every 500."""
        done = Replayed()
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), REPLAYS_AT_ONCE):
            part = wanted[start : start + REPLAYS_AT_ONCE]
            found = await self._letters.candidates(part)
            done.refused.update({id: Refusal.NOT_FOUND for id in part if id not in found})
            done.refused.update({each.id: each.refusal for each in found.values() if each.refusal is not None})
            fit = [found[id] for id in part if id not in done.refused]
            await self._record([_replay(each, by, None) for each in fit], done)
        return done

    async def replay_where(
        self, where: DeadLetterFilter, limit: int, by: Principal, rate: int | None = None
    ) -> Replayed:
        """Up to `limit` of those that pass and can be replayed, the oldest first; `rate` instead of the usual one.

        The clocks of their notifications are spread over time, so what comes due at once never is more than the rate.
        """
        every = timedelta(seconds=1 / (rate or self._rate))
        done = Replayed(more=True)
        after, count, begun = "", 0, None
        while done.more and count < limit:
            part = min(REPLAYS_AT_ONCE, limit - count)
            found = await self._letters.replayable(where, after, part + 1)
            found, done.more = found[:part], len(found) > part
            if not found:
                break
            begun = begun or found[0].seen_at
            changes = [_replay(each, by, begun + (count + place) * every) for place, each in enumerate(found)]
            await self._record(changes, done)
            after, count = found[-1].id, count + len(found)
        done.seconds = (count * every).total_seconds()
        return done

    async def _record(self, changes: Sequence[StatusChanged], done: Replayed) -> None:
        """Whether each applies is for `track` to say, under the lock; what was refused there is looked at again."""
        if not changes:
            return
        recorded = await self._store.record(changes)
        self._announce(recorded.rows)
        letters = [str(change.detail["dead_letter"]) for change in changes]
        ignored = {str(change.detail["dead_letter"]) for change, _ in recorded.ignored}
        done.replayed.extend(id for id in letters if id not in ignored)
        if ignored:
            now = await self._letters.candidates(sorted(ignored))
            done.refused.update({id: now[id].refusal or Refusal.NOT_FAILED for id in now})


def _replay(letter: Candidate, by: Principal, due_at: datetime | None) -> StatusChanged:
    return StatusChanged(
        notification_id=letter.notification_id,
        status=Status.QUEUED,
        occurred_at=letter.seen_at,
        attempt=letter.attempt,
        reason="Replayed by an operator.",
        retry_at=due_at,
        replay=True,
        detail={"dead_letter": letter.id, "replayed_by": {"id": by.key_id, "name": by.name}},
    )
