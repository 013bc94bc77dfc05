"""The life of a notification in the logs: one line a step, in every role, each with the correlation id.

`grep` of a correlation id over all logs tells the whole of it (docs/observability.md). A notification has half a dozen
steps and a core does a thousand notifications a second, so a batch of steps is one record of the standard library's
logging, and whoever renders it (`api.log_lines`) writes one line a step. Steps hold ids, codes and figures; a `reason`
is a text that was made fit to be shown.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum

import msgspec

from domain.callbacks import Callback
from domain.notification import Channel, Outcome, Status
from domain.ports import LogRow
from domain.telemetry import correlation_id
from domain.views import Order

log = logging.getLogger(__name__)

NAMED = 50
"""How many notifications a line names at most."""


class Event(StrEnum):
    """What happened. docs/observability.md has the table."""

    ACCEPTED = "accepted"
    PUBLISHED = "published"
    REPORTED_AGAIN = "reported again"
    ATTEMPTED = "attempted"
    NOT_TRIED = "not tried"
    HANDED_BACK = "handed back"
    RECORDED = "recorded"
    IGNORED = "ignored"
    DEAD_LETTERED = "dead-lettered"
    CALLBACK = "callback"


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line. Fields that say nothing are left out.

    `attempt` counts from 1, `duration_ms` is of the provider's call, `notifications` how many there are of which
    `notification_ids` names the first. `brought_by` is the correlation id of the call that brought
    about what was not in the notification's own: a webhook, a cancellation.
    """

    event: Event
    correlation_id: str | None = None
    notification_id: str | None = None
    channel: Channel | None = None
    attempt: int | None = None
    status: Status | None = None
    previous_status: Status | None = None
    provider: str | None = None
    outcome: Outcome | None = None
    code: str | None = None
    reason: str | None = None
    duration_ms: int | None = None
    device_id: str | None = None
    retry_at: datetime | None = None
    sequence: int | None = None
    position: int | None = None
    request_id: str | None = None
    request: str | None = None
    client: str | None = None
    category: str | None = None
    notifications: int | None = None
    notification_ids: Sequence[str] | None = None
    kind: str | None = None
    permanent: bool | None = None
    brought_by: str | None = None
    test: bool = False


def tell(steps: Iterable[Step], level: int = logging.INFO) -> None:
    """Log these steps, in order. They are not even made (hand in a generator) when nobody listens."""
    if log.isEnabledFor(level) and (made := list(steps)):
        log.log(level, "%d steps", len(made), extra={"steps": made})


@contextmanager
def hushed() -> Iterator[None]:
    """Only what went wrong is told meanwhile."""
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


def accepted(order: Order) -> Step:
    """A request is stored: one line, however many notifications it came to."""
    return Step(
        event=Event.ACCEPTED,
        correlation_id=order.correlation_id,
        request_id=order.request_id,
        request=order.id,
        client=order.client,
        category=order.category,
        notifications=len(order.drafts),
        notification_ids=[draft.id for draft in order.drafts[:NAMED]],
        test=order.test,
    )


def tell_recorded(rows: Sequence[LogRow]) -> None:
    """Say which statuses were recorded, and which of them ended as a dead letter."""
    tell(map(recorded, rows))
    tell((_dead_letter(row) for row in rows if row.status is Status.FAILED), logging.WARNING)


def recorded(row: LogRow) -> Step:
    """A status is in the log."""
    return Step(
        event=Event.RECORDED,
        correlation_id=row.correlation_id,
        notification_id=row.notification_id,
        channel=row.channel,
        attempt=row.attempt or None,
        status=row.status,
        previous_status=row.previous_status,
        provider=row.provider,
        reason=row.reason,
        sequence=row.sequence,
        position=row.position,
        brought_by=_other_than(row.correlation_id),
    )


def called_back(callback: Callback, correlation: str) -> Step:
    """Somebody said something of a notification of ours; `correlation` is the notification's own."""
    return Step(
        event=Event.CALLBACK,
        correlation_id=correlation,
        notification_id=callback.notification_id,
        kind=callback.kind.value,
        provider=callback.provider,
        code=callback.code,
        reason=callback.reason,
        permanent=callback.permanent or None,
        brought_by=_other_than(correlation),
    )


def _other_than(correlation: str) -> str | None:
    """The correlation id of the call under way, where it is not this one."""
    ours = correlation_id.get()
    return None if ours == correlation else ours


def _dead_letter(row: LogRow) -> Step:
    code = (row.detail or {}).get("code")
    return Step(
        event=Event.DEAD_LETTERED,
        correlation_id=row.correlation_id,
        notification_id=row.notification_id,
        channel=row.channel,
        attempt=row.attempt or None,
        provider=row.provider,
        code=code if isinstance(code, str) else None,
        reason=row.reason,
    )
