"""From database rows to what the domain knows, and back: the one place that knows which column holds which JSON."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from api.database import parse_time
from domain.attachments import Attachment
from domain.callbacks import Callback, CallbackKind
from domain.events import Attempt, StatusChanged
from domain.notification import Channel, Outcome, Priority, Progress, Status
from domain.outgoing import Pinned, PushOptions
from domain.ports import LogRow
from domain.recipient import Recipient
from domain.template import Content
from domain.views import NotificationView

_encoder = msgspec.json.Encoder()
_recipient = msgspec.json.Decoder(Recipient)
_pinned = msgspec.json.Decoder(Pinned)
_content = msgspec.json.Decoder(Content)
_push = msgspec.json.Decoder(PushOptions)
_attachments = msgspec.json.Decoder(tuple[Attachment, ...])
_variables = msgspec.json.Decoder(dict[str, Any])
_ids = msgspec.json.Decoder(frozenset[str])

PROGRESS_COLUMNS = (
    "id, status, sequence, attempt, attempts_used, next_at, token, settled IS NOT NULL AS settled, uncertain,"
    " possible_duplicate, refused_devices, provider, provider_message_id, reason, deliver_by"
)


def maybe_time(value: str | datetime | None) -> datetime | None:
    """A time from a column that may be null."""
    return None if value is None else parse_time(value)


def to_text(value: Any) -> str | None:
    """A value as JSON text; None stays null."""
    return None if value is None else _encoder.encode(value).decode()


def recipient_of(text: str) -> Recipient:
    """Read the recipient column."""
    return _recipient.decode(text)


def pinned_of(text: str | None) -> Pinned | None:
    """Read the template column."""
    return None if text is None else _pinned.decode(text)


def content_of(text: str | None) -> Content | None:
    """Read a request's content column."""
    return None if text is None else _content.decode(text)


def push_of(text: str | None) -> PushOptions | None:
    """Read a request's push column."""
    return None if text is None else _push.decode(text)


def attachments_of(text: str | None) -> tuple[Attachment, ...]:
    """Read a request's attachments column."""
    return () if text is None else _attachments.decode(text)


def variables_of(text: str | None) -> dict[str, Any]:
    """Read a variables column."""
    return {} if text is None else _variables.decode(text)


def ids_of(text: str | None) -> frozenset[str]:
    """Read a column that holds a set of ids; null where there is none."""
    return frozenset() if text is None else _ids.decode(text)


def progress_of(row: Mapping[str, Any]) -> Progress:
    """Read a row selected with `PROGRESS_COLUMNS`."""
    return Progress(
        id=row["id"],
        status=Status(row["status"]),
        sequence=row["sequence"],
        attempt=row["attempt"],
        attempts_used=row["attempts_used"],
        next_at=maybe_time(row["next_at"]),
        token=row["token"],
        settled=bool(row["settled"]),
        uncertain=bool(row["uncertain"]),
        possible_duplicate=bool(row["possible_duplicate"]),
        refused_devices=ids_of(row["refused_devices"]),
        provider=row["provider"],
        provider_message_id=row["provider_message_id"],
        reason=row["reason"],
        deliver_by=maybe_time(row["deliver_by"]),
    )


def log_row_of(row: Mapping[str, Any]) -> LogRow:
    """Read a row of the status log."""
    return LogRow(
        position=row["position"],
        sequence=row["sequence"],
        notification_id=row["notification_id"],
        request_id=row["request_id"],
        request=row["request"],
        client=row["client"],
        user_id=row["user_id"],
        channel=Channel(row["channel"]),
        category=row["category"],
        status=Status(row["status"]),
        previous_status=Status(row["previous_status"]) if row["previous_status"] else None,
        reason=row["reason"],
        attempt=row["attempt"],
        provider=row["provider"],
        detail=variables_of(row["detail"]) or None,
        occurred_at=parse_time(row["occurred_at"]),
        recorded_at=parse_time(row["recorded_at"]),
        correlation_id=row["correlation_id"],
    )


def notification_of(row: Mapping[str, Any], metadata: str | None, attachments: str | None = None) -> NotificationView:
    """Read a notification with its request's metadata and attachments, which only a mail has."""
    return NotificationView(
        id=row["id"],
        request=row["request"],
        request_id=row["request_id"],
        correlation_id=row["correlation_id"],
        channel=Channel(row["channel"]),
        status=Status(row["status"]),
        reason=row["reason"],
        sequence=row["sequence"],
        recipient=recipient_of(row["recipient"]),
        template=pinned_of(row["template"]),
        category=row["category"],
        priority=Priority.of_rank(row["priority"]),
        provider=row["provider"],
        provider_message_id=row["provider_message_id"],
        possible_duplicate=bool(row["possible_duplicate"]),
        metadata=None if metadata is None else msgspec.json.decode(metadata),
        test=bool(row["test"]),
        attachments=attachments_of(attachments) if row["channel"] == Channel.EMAIL else (),
        created_at=parse_time(row["created_at"]),
        send_at=maybe_time(row["send_at"]),
        deliver_by=maybe_time(row["deliver_by"]),
        updated_at=parse_time(row["updated_at"]),
    )


def attempt_of(row: Mapping[str, Any]) -> Attempt:
    """Read a row of the attempts table."""
    return Attempt(
        number=row["number"],
        provider=row["provider"],
        outcome=Outcome(row["outcome"]),
        started_at=parse_time(row["started_at"]),
        duration_ms=row["duration_ms"],
        device_id=row["device_id"] or None,
        code=row["code"],
        detail=row["detail"],
        retry_at=maybe_time(row["retry_at"]),
    )


def callback_of(row: Mapping[str, Any]) -> Callback:
    """Read a row of the callbacks table."""
    return Callback(
        notification_id=row["notification_id"],
        kind=CallbackKind(row["kind"]),
        occurred_at=parse_time(row["occurred_at"]),
        provider=row["provider"],
        permanent=bool(row["permanent"]),
        code=row["code"],
        reason=row["reason"],
    )


def settled_of(text: str | None) -> tuple[StatusChanged, ...]:
    """Read the settled column: the changes that a worker stored."""
    return () if text is None else msgspec.json.decode(text, type=tuple[StatusChanged, ...])
