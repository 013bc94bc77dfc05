"""Mailgun's webhook: one event, with a signature beside it (HMAC-SHA256 over timestamp and token).

The signature does not cover the event, so the connection must be TLS. A token that comes again does no harm: what was
recorded is not recorded twice.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from api.gateway.webhooks import FORGED, decoded, moment, require_fresh, word
from domain.callbacks import Callback, CallbackKind
from domain.errors import Unauthenticated
from domain.ids import NOTIFICATION, is_id

KINDS = {
    "delivered": CallbackKind.DELIVERED,
    "failed": CallbackKind.BOUNCED,
    "rejected": CallbackKind.BOUNCED,
    "complained": CallbackKind.COMPLAINED,
    "opened": CallbackKind.OPENED,
    "clicked": CallbackKind.CLICKED,
    "unsubscribed": CallbackKind.UNSUBSCRIBED,
}
ADDRESS_AT_FAULT = frozenset({"bounce", "suppress-bounce"})


class Signature(msgspec.Struct):
    """What is signed, and how. The timestamp may be a number."""

    timestamp: str | int
    token: str
    signature: str


class DeliveryStatus(msgspec.Struct, rename="kebab"):
    """What the other mail server said."""

    code: Any = None
    enhanced_code: Any = None
    message: Any = None
    description: Any = None
    bounce_type: Any = None


class Headers(msgspec.Struct, rename="kebab"):
    """Of the mail's headers."""

    message_id: Any = None


class Mail(msgspec.Struct):
    """The mail that it is about."""

    headers: Headers = msgspec.field(default_factory=Headers)


class Event(msgspec.Struct, rename="kebab"):
    """What we read of an event. `user_variables` are ours."""

    event: str
    timestamp: float
    user_variables: Any = None
    severity: Any = None
    reason: Any = None
    delivery_status: DeliveryStatus | None = None
    message: Mail | None = None


class Posted(msgspec.Struct, rename="kebab"):
    """The body."""

    signature: Signature
    event_data: Event


class MailgunWebhook:
    """`api.gateway.webhooks.Webhook`. `key` is the webhook signing key of the account."""

    def __init__(self, key: str, skew: float) -> None:
        self._key, self._skew = key.encode(), skew

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Callback]:
        posted = decoded(body, Posted)
        signed = posted.signature
        timestamp = str(signed.timestamp)
        require_fresh(timestamp, now, self._skew)
        expected = hmac.new(self._key, f"{timestamp}{signed.token}".encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), signed.signature.encode()):
            raise Unauthenticated(FORGED)
        event, id = posted.event_data, _notification_id(posted.event_data)
        return [] if id is None or event.event not in KINDS else [_callback(event, id)]


def _notification_id(event: Event) -> str | None:
    ours = event.user_variables
    id = ours.get("notification_id") if isinstance(ours, dict) else None
    return id if isinstance(id, str) and is_id(NOTIFICATION, id) else None


def _callback(event: Event, id: str) -> Callback:
    status = event.delivery_status or DeliveryStatus()
    kind = KINDS[event.event]
    if event.event == "failed" and event.severity == "temporary":
        kind = CallbackKind.DELAYED
    return Callback(
        notification_id=id,
        kind=kind,
        occurred_at=moment(event.timestamp),
        provider="mailgun",
        permanent=kind is CallbackKind.BOUNCED and _is_permanent(event, status),
        code=word(status.enhanced_code) or word(status.code),
        reason=word(status.message) or word(status.description) or word(event.reason),
        provider_message_id=None if event.message is None else word(event.message.headers.message_id),
    )


def _is_permanent(event: Event, status: DeliveryStatus) -> bool:
    """Mailgun's "permanent" means that it gives up, which may be for a full mailbox too."""
    return event.reason in ADDRESS_AT_FAULT and status.bounce_type != "soft" and not str(status.code).startswith("4")
