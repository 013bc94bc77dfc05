"""What a recipient's own device or page says of a notification: it came, it was opened, it was clicked."""

from datetime import UTC, datetime
from typing import Protocol

from domain.callbacks import DEVICE, Acknowledgement, Callback, CallbackKind, Callbacks
from domain.errors import NotFound
from domain.views import NotificationView


class Notifications(Protocol):
    """The gateway's read side."""

    async def notification(self, id: str) -> NotificationView | None: ...


class Acknowledgements:
    """Takes them as callbacks."""

    def __init__(self, callbacks: Callbacks, notifications: Notifications) -> None:
        self._callbacks, self._notifications = callbacks, notifications

    async def acknowledge(self, id: str, kind: Acknowledgement) -> NotificationView:
        """Record it; the notification as it stands then. May be called twice. Raises `NotFound`."""
        said = Callback(notification_id=id, kind=CallbackKind(kind), occurred_at=datetime.now(UTC), provider=DEVICE)
        await self._callbacks.record([said])
        view = await self._notifications.notification(id)
        if view is None:
            raise NotFound("notification", id)
        return view
