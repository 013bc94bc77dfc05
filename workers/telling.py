"""What dispatcher, workers and relay say of each notification: steps of `domain.life`, attributes of spans."""

from collections.abc import Iterator, Sequence

from domain.deliver import HandBack
from domain.events import Attempt, StatusChanged
from domain.life import Event, Step
from domain.notification import Channel
from domain.ports import Claim, Due, Recorded, Settlement
from domain.tracing import Attributes, Kind, Span, Tracer
from workers.broker.topology import EXCHANGE_NOTIFICATIONS


def published(channel: Channel, rows: Sequence[Due]) -> Iterator[Step]:
    """A step a row that is out there: its delivery, or the stored outcome that was never recorded."""
    for row in rows:
        yield Step(
            event=Event.REPORTED_AGAIN if row.settled else Event.PUBLISHED,
            correlation_id=row.correlation_id,
            notification_id=row.id,
            channel=channel,
            attempt=row.attempt if row.settled else row.attempt + 1,
            reason="Its last worker was never heard of again." if row.revoked else None,
        )


def attempted(claim: Claim, result: Settlement | HandBack) -> Iterator[Step]:
    """A step a call of a provider; where there was none, one that says why not."""
    if isinstance(result, HandBack):
        yield _step(Event.HANDED_BACK, claim, reason=result.reason)
        return
    ending = result.changes[-1]
    if not ending.attempts:
        yield _not_tried(claim, ending)
    for attempt in ending.attempts:
        yield _attempt(claim, attempt)


def _attempt(claim: Claim, attempt: Attempt) -> Step:
    return Step(
        event=Event.ATTEMPTED,
        correlation_id=claim.correlation_id,
        notification_id=claim.id,
        channel=claim.channel,
        attempt=attempt.number,
        provider=attempt.provider,
        outcome=attempt.outcome,
        code=attempt.code,
        reason=attempt.detail,
        duration_ms=attempt.duration_ms,
        device_id=attempt.device_id,
        retry_at=attempt.retry_at,
        test=claim.test,
    )


def _not_tried(claim: Claim, ending: StatusChanged) -> Step:
    return Step(
        event=Event.NOT_TRIED,
        correlation_id=claim.correlation_id,
        notification_id=claim.id,
        channel=claim.channel,
        attempt=claim.attempt,
        status=ending.status,
        code=code_of(ending),
        reason=ending.reason,
        retry_at=ending.retry_at,
    )


def _step(event: Event, claim: Claim, reason: str) -> Step:
    return Step(
        event=event,
        correlation_id=claim.correlation_id,
        notification_id=claim.id,
        channel=claim.channel,
        attempt=claim.attempt,
        reason=reason,
    )


def code_of(change: StatusChanged) -> str | None:
    """The code of a change, where it has one that is a text."""
    code = change.detail.get("code")
    return code if isinstance(code, str) else None


def about(claim: Claim) -> Attributes:
    """What a span says of the notification that it is for."""
    return {
        "heliograph.notification.id": claim.id,
        "heliograph.correlation_id": claim.correlation_id,
        "heliograph.channel": claim.channel.value,
        "heliograph.attempt": claim.attempt,
    }


def conclude(span: Span, result: Settlement | HandBack) -> None:
    """Say on an attempt's span what came of it."""
    if isinstance(result, HandBack):
        span.set({"heliograph.status": "handed back"})
        return
    ending = result.changes[-1]
    span.set({"heliograph.status": ending.status.value, "heliograph.code": code_of(ending)})
    if ending.attempts and ending.attempts[-1].outcome.value != "ACCEPTED":
        span.fail(ending.attempts[-1].outcome.value)


def trace_recorded(tracer: Tracer, recorded: Recorded, began: int) -> None:
    """A span a status in the trace of its notification, where it has one; `began` is in nanoseconds since 1970."""
    for row in recorded.rows:
        if (trace := recorded.traces.get(row.notification_id)) is None:
            continue
        told: Attributes = {
            "heliograph.notification.id": row.notification_id,
            "heliograph.correlation_id": row.correlation_id,
            "heliograph.status": row.status.value,
            "heliograph.position": row.position,
        }
        with tracer.span(f"record {row.status.value}", Kind.INTERNAL, told, parent=trace, began=began):
            pass


def ignored(change: StatusChanged, why: str) -> Step:
    """A report that came to nothing, and why."""
    return Step(
        event=Event.IGNORED,
        notification_id=change.notification_id,
        status=change.status,
        attempt=change.attempt or None,
        reason=why,
    )


def message_attributes(channel: Channel, operation: str, count: int) -> Attributes:
    """What a span says of a message that is sent, or processed (OpenTelemetry's messaging conventions)."""
    return {
        "messaging.system": "heliograph",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": f"{EXCHANGE_NOTIFICATIONS}:{channel.routing_key}",
        "messaging.destination.subscription.name": f"{channel.routing_key}.queue" if operation == "process" else None,
        "messaging.batch.message_count": count,
        "heliograph.channel": channel.value,
    }
