"""OneSignal's event stream: events in a body that we define there, with a secret in a header.

OneSignal signs nothing and says when an event happened, not when it is posted; so the secret is all that there is to
check, and an event may come late. `docs/callbacks.md` shows the header and the body to set up.
"""

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from api.gateway.webhooks import FORGED, decoded, moment, word
from domain.callbacks import Callback, CallbackKind
from domain.errors import Unauthenticated
from domain.ids import NOTIFICATION, is_id

KINDS = {
    "message.push.received": CallbackKind.DELIVERED,
    "message.push.clicked": CallbackKind.CLICKED,
    "message.push.failed": CallbackKind.BOUNCED,
}


class Event(msgspec.Struct):
    """One event. `data` is what was sent along with the notification."""

    kind: str
    timestamp: float | str
    data: Any = None
    message_id: Any = None
    reason: Any = None


class OneSignalWebhook:
    """`api.gateway.webhooks.Webhook`. `secret` comes as `Authorization: Bearer <secret>`."""

    def __init__(self, secret: str) -> None:
        self._expected = f"Bearer {secret}".encode()

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Callback]:
        if not hmac.compare_digest(headers.get("authorization", "").encode(), self._expected):
            raise Unauthenticated(FORGED)
        posted = decoded(body, Event | list[Event])  # type: ignore[arg-type]  # a union is no class
        events: list[Event] = posted if isinstance(posted, list) else [posted]
        return [_callback(one, id) for one in events if one.kind in KINDS and (id := _notification_id(one))]


def _notification_id(event: Event) -> str | None:
    id = event.data.get("notification_id") if isinstance(event.data, dict) else None
    return id if isinstance(id, str) and is_id(NOTIFICATION, id) else None


def _callback(event: Event, id: str) -> Callback:
    return Callback(
        notification_id=id,
        kind=KINDS[event.kind],
        occurred_at=moment(_seconds(event.timestamp)),
        provider="onesignal",
        code=None if event.kind != "message.push.failed" else "push_failed",
        reason=word(event.reason),
        provider_message_id=word(event.message_id),
    )


def _seconds(timestamp: float | str) -> float:
    """What is filled into a template may be a text."""
    return float(timestamp) if not isinstance(timestamp, str) or timestamp.isdecimal() else float("nan")
