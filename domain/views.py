"""What callers are shown: requests and notifications as they stand, without the machinery of claims and clocks."""

from datetime import datetime
from typing import Any

import msgspec

from domain.attachments import Attachment
from domain.notification import FINAL, Channel, Priority, Status
from domain.outgoing import Pinned, PushOptions
from domain.recipient import Recipient
from domain.template import Content


class NotificationView(msgspec.Struct, frozen=True, kw_only=True):
    """One notification. `request` is the id of its request, `request_id` the caller's idempotency key.

    `test`: it goes to the sandbox and nowhere else.
    """

    id: str
    request: str
    request_id: str
    correlation_id: str
    channel: Channel
    status: Status
    reason: str | None
    sequence: int
    recipient: Recipient
    template: Pinned | None
    category: str
    priority: Priority
    provider: str | None = None
    provider_message_id: str | None = None
    possible_duplicate: bool = False
    metadata: Any = None
    test: bool = False
    attachments: tuple[Attachment, ...] = ()
    created_at: datetime
    send_at: datetime | None = None
    deliver_by: datetime | None = None
    updated_at: datetime


class RequestView(msgspec.Struct, frozen=True, kw_only=True):
    """One request and how far it has come. `counts` holds only statuses that occur."""

    id: str
    request_id: str
    correlation_id: str
    total: int
    counts: dict[Status, int]
    created_at: datetime

    @property
    def finished(self) -> bool:
        """Whether every notification of it has a final status."""
        return sum(count for status, count in self.counts.items() if status in FINAL) == self.total

    @property
    def percent(self) -> float:
        """The share of notifications with a final status, 0 to 100."""
        done = sum(count for status, count in self.counts.items() if status in FINAL)
        return 100.0 * done / self.total if self.total else 100.0


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a submission. `notifications` holds the first 100; `accepted` does not count SKIPPED."""

    request: RequestView
    notifications: list[NotificationView]
    duplicate: bool
    accepted: int


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A notification about to be accepted. `status` is ACCEPTED, SCHEDULED (until `due_at`) or SKIPPED.

    `detail` is what the log says of how it was decided.
    """

    id: str
    channel: Channel
    status: Status
    reason: str | None
    due_at: datetime | None = None
    recipient: Recipient
    template: Pinned | None
    variables: dict[str, Any] | None
    detail: dict[str, Any] = {}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A request about to be accepted, with its notifications: all or nothing. `test`: all of them go to the sandbox."""

    id: str
    client: str
    request_id: str
    fingerprint: str
    correlation_id: str
    traceparent: str | None
    category: str
    priority: Priority
    content: Content | None
    variables: dict[str, Any]
    push: PushOptions | None
    metadata: Any
    send_at: datetime | None
    deliver_by: datetime | None
    drafts: tuple[Draft, ...]
    test: bool = False
    attachments: tuple[Attachment, ...] = ()


RECEIPT_SIZE = 100


def receipt_of(order: Order, at: datetime) -> Receipt:
    """The receipt of an order that was just accepted, without asking the database again."""
    counts: dict[Status, int] = {}
    for draft in order.drafts:
        counts[draft.status] = counts.get(draft.status, 0) + 1
    request = RequestView(
        id=order.id,
        request_id=order.request_id,
        correlation_id=order.correlation_id,
        total=len(order.drafts),
        counts=counts,
        created_at=at,
    )
    return Receipt(
        request=request,
        notifications=[_view_of(order, draft, at) for draft in order.drafts[:RECEIPT_SIZE]],
        duplicate=False,
        accepted=len(order.drafts) - counts.get(Status.SKIPPED, 0),
    )


def _view_of(order: Order, draft: Draft, at: datetime) -> NotificationView:
    return NotificationView(
        id=draft.id,
        request=order.id,
        request_id=order.request_id,
        correlation_id=order.correlation_id,
        channel=draft.channel,
        status=draft.status,
        reason=draft.reason,
        sequence=1,
        recipient=draft.recipient,
        template=draft.template,
        category=order.category,
        priority=order.priority,
        metadata=order.metadata,
        test=order.test,
        attachments=order.attachments if draft.channel is Channel.EMAIL else (),
        created_at=at,
        send_at=order.send_at,
        deliver_by=order.deliver_by,
        updated_at=at,
    )
