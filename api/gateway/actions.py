"""What the gateway changes at once, by the same `record` as the relay: cancel."""

from collections.abc import Callable
from datetime import UTC, datetime

from api.gateway.queries import Queries
from domain.errors import NotFound, TooLate
from domain.events import StatusChanged
from domain.notification import Status
from domain.ports import LogRow, StatusStore
from domain.views import NotificationView

Announce = Callable[[list[LogRow]], None]


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
