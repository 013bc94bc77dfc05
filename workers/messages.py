"""From messages of the domain to publications: where each goes, and which properties it carries."""

from collections.abc import Iterable, Sequence
from uuid import uuid4

from domain.events import (
    DELIVERY_FAILED,
    DELIVERY_REQUESTED,
    STATUS_CHANGED,
    DeliveryRequested,
    StatusChanged,
    StatusReport,
    encode,
)
from domain.ports import Message, Publication
from workers.broker.topology import EXCHANGE_NOTIFICATIONS, EXCHANGE_STATUS, FAILED_KEY, HEADER_REASON

STATUS_KEY = "status.changed"


def delivery_publication(
    message: DeliveryRequested, *, correlation_id: str | None, traceparent: str | None
) -> Publication:
    """A delivery message to its channel's queue."""
    body = Message(
        type=DELIVERY_REQUESTED,
        body=encode(message),
        message_id=uuid4().hex,
        correlation_id=correlation_id,
        headers={"traceparent": traceparent} if traceparent else {},
    )
    return Publication(EXCHANGE_NOTIFICATIONS, message.channel.routing_key, body)


def report_publications(lists: Iterable[Sequence[StatusChanged]]) -> list[Publication]:
    """Status messages, one a list, in order."""
    return [
        Publication(
            EXCHANGE_STATUS,
            STATUS_KEY,
            Message(type=STATUS_CHANGED, body=encode(StatusReport(changes=list(changes))), message_id=uuid4().hex),
        )
        for changes in lists
    ]


def given_up_publications(changes: Iterable[StatusChanged]) -> list[Publication]:
    """A copy of each given-up delivery for whoever listens to `failed.queue`; it changes no status."""
    return [
        Publication(
            EXCHANGE_NOTIFICATIONS,
            FAILED_KEY,
            Message(
                type=DELIVERY_FAILED,
                body=encode([change]),
                message_id=uuid4().hex,
                headers={HEADER_REASON: change.reason or "given up"},
            ),
        )
        for change in changes
    ]
