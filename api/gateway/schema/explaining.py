"""Why a notification became what it became, as GraphQL shows it: its decisions, and what it waited for."""

import asyncio
from datetime import UTC, datetime
from typing import Any, Protocol, Self

import strawberry
from strawberry.scalars import JSON

from api.gateway.schema.context import Info
from api.gateway.schema.enums import describe
from domain.explain.decisions import decisions_of
from domain.explain.told import DecisionKind, Explanation, Told
from domain.explain.waits import Wait as Waited
from domain.explain.waits import waits_of
from domain.notification import Channel, Status

field = strawberry.field

describe(
    DecisionKind,
    "What was decided about.",
    {
        "CHANNEL": "Which channel to use, and why not others.",
        "TEMPLATE": "Which version of the template says it.",
        "LOCALE": "In which language.",
        "RECIPIENT": "Who the recipient is: as last heard of while the User Service was away, or erased since.",
        "PREFERENCE": "Whether the recipient wants it.",
        "SUPPRESSION": "Whether a contact point is blocked.",
        "QUIET_HOURS": "Whether to hold it until the recipient's quiet hours end.",
        "SCHEDULE": "Not before, and not after, a time that the caller gave.",
        "PROVIDER": "Who was called, and who was passed over.",
        "RETRY": "Whether to try again, and when.",
    },
)


@strawberry.type(description="One decision that was made for a notification.")
class Decision:
    """One decision that was made for a notification."""

    kind: DecisionKind = field(description="What was decided about.")
    sentence: str = field(description="What was decided and why, for people, without contact points.")
    detail: JSON | None = field(description="The same for programs.")
    at: datetime = field(description="When it was decided.")
    attempt: int | None = field(description="The delivery attempt that it was made for; null at acceptance.")

    @classmethod
    def of(cls, told: Explanation) -> Self:
        """From the domain."""
        detail = None if told.detail is None else JSON(told.detail)
        return cls(kind=told.kind, sentence=told.sentence, detail=detail, at=told.at, attempt=told.attempt)


@strawberry.type(description="The time that a notification was in one status.")
class Wait:
    """The time that a notification was in one status."""

    status: Status = field(description="The status.")
    since: datetime = field(name="from", description="When it got the status.")
    until: datetime | None = field(description="When it got the next one; null while it waits.")
    seconds: float = field(description="How long that is, up to now while it waits.")
    what_for: str = field(description="What it waited for and how long, in a few words.")

    @classmethod
    def of(cls, wait: Waited) -> Self:
        """From the domain."""
        return cls(status=wait.status, since=wait.since, until=wait.until, seconds=wait.seconds, what_for=wait.what_for)


class Explained(Protocol):
    """What must be known of a notification besides what is loaded."""

    id: Any
    channel: Channel
    category: str
    send_at: datetime | None
    deliver_by: datetime | None


async def decisions(notification: Explained, info: Info) -> list[Decision]:
    """In order of time."""
    return [Decision.of(each) for each in decisions_of(await _told(notification, info))]


async def waits(notification: Explained, info: Info) -> list[Wait]:
    """In order; the last one may not be over."""
    return [Wait.of(each) for each in waits_of(await _told(notification, info), datetime.now(UTC))]


async def _told(notification: Explained, info: Info) -> Told:
    """Loaded for all notifications of the operation at once, and once for both fields, timeline and attempts."""
    loaders = info.context.loaders
    timeline, attempts = await asyncio.gather(
        loaders.timelines.load((notification.id, 0)), loaders.attempts.load(notification.id)
    )
    return Told(
        channel=notification.channel,
        category=notification.category,
        send_at=notification.send_at,
        deliver_by=notification.deliver_by,
        timeline=timeline,
        attempts=attempts,
    )
