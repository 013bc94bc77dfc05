"""The messages that travel between the roles, and their wire form.

Both are lists, both are versioned JSON, and neither carries personal data: a delivery message names rows, and the
claim brings the rest. Decoding is strict; anything else raises `UnreadableMessage`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from domain.errors import UnreadableMessage
from domain.notification import Channel, Outcome, Priority, Status

VERSION = 1
MAX_DELIVERIES = 50
MAX_CHANGES = 500
DELIVERY_REQUESTED = "delivery.requested"
DELIVERY_FAILED = "delivery.failed"
STATUS_CHANGED = "status.changed"
LEASE_ENDED = "lease_ended"
"""The code of an attempt whose worker was never heard of again."""


class DeliveryItem(msgspec.Struct, frozen=True):
    """One notification to deliver: `attempt` is its attempt count when it was published (the fence of rule R1)."""

    id: str
    attempt: int


class DeliveryRequested(msgspec.Struct, frozen=True, kw_only=True):
    """Deliver these 1 to 50 notifications of one channel and one priority."""

    version: int = VERSION
    channel: Channel
    priority: Priority
    items: list[DeliveryItem]


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call to one provider, for one contact point. `detail` never holds a contact point."""

    number: int
    provider: str
    outcome: Outcome
    started_at: datetime
    duration_ms: int
    device_id: str | None = None
    code: str | None = None
    detail: str | None = None
    retry_at: datetime | None = None


class StatusChanged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A status that somebody reports. Whether it applies is for `track` to say.

    `attempt` is the attempt that it speaks of; `token` proves that the reporter holds the claim (rule R4).
    `uses_attempt` says whether the retry policy counts it; `uncertain` that the provider may have taken it all the
    same. Times are the database's clock, in UTC.
    """

    notification_id: str
    status: Status
    occurred_at: datetime
    attempt: int = 0
    token: str | None = None
    reason: str | None = None
    provider: str | None = None
    provider_message_id: str | None = None
    retry_at: datetime | None = None
    uses_attempt: bool = False
    uncertain: bool = False
    replay: bool = False
    attempts: list[Attempt] = []
    detail: dict[str, Any] = {}


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """1 to 500 status changes, in order."""

    version: int = VERSION
    changes: list[StatusChanged]


_M = TypeVar("_M", DeliveryRequested, StatusReport)

_encode = msgspec.json.Encoder().encode
_delivery = msgspec.json.Decoder(DeliveryRequested)
_report = msgspec.json.Decoder(StatusReport)
_changes = msgspec.json.Decoder(list[StatusChanged])


def encode(message: DeliveryRequested | StatusReport | Sequence[StatusChanged]) -> bytes:
    """The wire form."""
    return _encode(message)


def decode_delivery(body: bytes) -> DeliveryRequested:
    """Read a delivery message; raises `UnreadableMessage` with the reason."""
    message = _decode(_delivery, body)
    _require_size("delivery", "items", len(message.items), MAX_DELIVERIES)
    return message


def decode_report(body: bytes) -> StatusReport:
    """Read a status message; raises `UnreadableMessage` with the reason."""
    message = _decode(_report, body)
    _require_size("status", "changes", len(message.changes), MAX_CHANGES)
    return message


def decode_changes(body: bytes | str) -> list[StatusChanged]:
    """Read what a settled claim stored."""
    return _changes.decode(body)


def _decode(decoder: msgspec.json.Decoder[_M], body: bytes) -> _M:
    try:
        message = decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableMessage(str(error)) from error
    if message.version != VERSION:
        raise UnreadableMessage(f"Version {message.version} is not known here; this is version {VERSION}.")
    return message


def _require_size(kind: str, what: str, size: int, limit: int) -> None:
    if not 1 <= size <= limit:
        raise UnreadableMessage(f"A {kind} message holds 1 to {limit} {what}, not {size}.")
