"""Requests, notifications and status events as GraphQL shows them."""

from datetime import datetime
from typing import Annotated, Any, Self

import strawberry
from strawberry.scalars import JSON

from api.access import allow
from api.gateway import cursor
from api.gateway.queries import Page
from api.gateway.schema.attachments import Attachment
from api.gateway.schema.context import Info
from api.gateway.schema.enums import describe
from api.gateway.schema.envelope import PageMeta, Response, check_page
from api.gateway.schema.errors import error_of
from api.gateway.schema.explaining import Decision, Wait, decisions, waits
from api.gateway.schema.node import Node
from api.gateway.schema.paging import Limit, PageNumber
from api.gateway.schema.scalars import BigInt
from api.gateway.schema.users import User
from api.security import Scope
from domain.callbacks import Callback as SaidOf
from domain.callbacks import CallbackKind
from domain.errors import HeliographError, NotFound
from domain.events import Attempt
from domain.notification import Channel, Outcome, Priority, Status
from domain.outgoing import Pinned
from domain.ports import LogRow
from domain.recipient import Recipient as RecipientView
from domain.views import NotificationView, RequestView

field = strawberry.field


def _id(value: str) -> strawberry.ID:
    return strawberry.ID(value)


@strawberry.type(description="Who a notification is for, as it was when it was accepted.")
class Recipient:
    """Who a notification is for."""

    user_id: strawberry.ID | None = field(description="The user; null where the caller gave a contact point.")
    email: str | None = field(description="The address that email goes to.")
    device_count: int = field(description="How many devices push goes to.")

    @field(description="The user as they are now; null where there is none or they were erased.")
    async def user(self, info: Info) -> User | None:
        """Asked of the User Service; FORBIDDEN without the scope for users."""
        if self.user_id is None:
            return None
        allow(info.context.principal, Scope.USERS_READ, end_users=True)
        view = await info.context.loaders.users.load(self.user_id)
        return None if view is None else User.of(view)

    @classmethod
    def of(cls, view: RecipientView) -> Self:
        """From the domain."""
        user_id = None if view.user_id is None else _id(view.user_id)
        return cls(user_id=user_id, email=view.email, device_count=len(view.devices))


@strawberry.type(description="The template version and locale that a notification is pinned to.")
class TemplateChoice:
    """The template version and locale that a notification is pinned to."""

    key: str = field(description="The template.")
    version: int = field(description="The version that was published, or asked for, when it was accepted.")
    locale: str = field(description="The locale that was chosen.")
    locale_fallback: list[str] = field(description="The locales that were tried, in order; the last one was chosen.")

    @classmethod
    def of(cls, pinned: Pinned) -> Self:
        """From the domain."""
        fallback = list(pinned.locale_fallback)
        return cls(key=pinned.key, version=pinned.version, locale=pinned.locale, locale_fallback=fallback)


@strawberry.type(description="One call to one provider, for one contact point.")
class DeliveryAttempt:
    """One call to one provider."""

    number: int = field(description="Counts from 1. Several devices or providers may share a number.")
    device_id: strawberry.ID | None = field(description="The device; null for email.")
    provider: str = field(description="Who was called: smtp, sendgrid, mailgun, fcm, onesignal, sandbox.")
    outcome: Outcome = field(description="What it came to.")
    code: str | None = field(description="The provider's own code.")
    detail: str | None = field(description="What the provider said, without contact points.")
    started_at: datetime = field(description="When the call began.")
    duration_ms: int = field(description="How long the call took, in milliseconds.")
    retry_at: datetime | None = field(description="When the next attempt is due, if one is planned.")

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        """From the domain."""
        return cls(
            number=attempt.number,
            device_id=None if attempt.device_id is None else _id(attempt.device_id),
            provider=attempt.provider,
            outcome=attempt.outcome,
            code=attempt.code,
            detail=attempt.detail,
            started_at=attempt.started_at,
            duration_ms=attempt.duration_ms,
            retry_at=attempt.retry_at,
        )


describe(
    CallbackKind,
    "What was said of a notification after it was sent.",
    {
        "DELIVERED": "It arrived.",
        "BOUNCED": "It came back.",
        "DELAYED": "The mail server that it is for does not take it yet; whoever took it from us tries on.",
        "COMPLAINED": "The recipient called it spam. The address is suppressed.",
        "OPENED": "It was opened.",
        "CLICKED": "A link or a button of it was clicked.",
        "UNSUBSCRIBED": "The recipient wants no more of its category.",
    },
)


@strawberry.type(description="One thing that was said of a notification after it was sent.")
class Callback:
    """One thing that was said of a notification after it was sent."""

    kind: CallbackKind = field(description="What was said.")
    provider: str = field(description="Who said it: a provider, `device` for the recipient's own, `link` for a link.")
    permanent: bool = field(description="Whether a bounce is for good; the contact point is suppressed then.")
    code: str | None = field(description="The provider's own code.")
    reason: str | None = field(description="What was said, in words, without contact points.")
    occurred_at: datetime = field(description="When it happened, by whoever said so.")

    @classmethod
    def of(cls, said: SaidOf) -> Self:
        """From the domain."""
        return cls(
            kind=said.kind,
            provider=said.provider,
            permanent=said.permanent,
            code=said.code,
            reason=said.reason,
            occurred_at=said.occurred_at,
        )


@strawberry.type(description="One notification: tell one recipient something on one channel.")
class Notification(Node):
    """One notification."""

    request_id: str = field(description="The caller's own key of the request that it belongs to.")
    correlation_id: str = field(description="Follows the request through every role's logs.")
    channel: Channel = field(description="How the recipient is reached.")
    status: Status = field(description="Where it is on its way.")
    reason: str | None = field(description="Why it has this status, in one sentence.")
    sequence: int = field(description="How many status changes there were.")
    recipient: Recipient = field(description="Who it is for.")
    template: TemplateChoice | None = field(description="What it says; null where the content was given inline.")
    category: str = field(description="What it is about, as preferences see it.")
    priority: Priority = field(description="Who goes first.")
    provider: str | None = field(description="The provider that took it.")
    provider_message_id: str | None = field(description="The provider's own id for it.")
    possible_duplicate: bool = field(description="Whether the recipient may have got it twice: an outcome was unknown.")
    metadata: JSON | None = field(description="The caller's own, as it was given.")
    attachments: list[Attachment] = field(description="The files that go with it; none on a push.")
    test: bool = field(description="Whether a test key sent it: it goes to the sandbox and nowhere else.")
    created_at: datetime = field(description="When it was accepted.")
    send_at: datetime | None = field(description="Not before then.")
    deliver_by: datetime | None = field(description="Not after then.")
    updated_at: datetime = field(description="When its status last changed.")

    @field(description="Every call to a provider, in order.")
    async def attempts(self, info: Info) -> list[DeliveryAttempt]:
        """Loaded for all notifications of the operation at once."""
        return [DeliveryAttempt.of(attempt) for attempt in await info.context.loaders.attempts.load(self.id)]

    @field(description="What was said of it after it was sent, each thing once, in the order in which we heard it.")
    async def callbacks(self, info: Info) -> list[Callback]:
        """Loaded for all notifications of the operation at once."""
        return [Callback.of(said) for said in await info.context.loaders.callbacks.load(self.id)]

    @field(description="Its status log, in order.")
    async def timeline(
        self,
        info: Info,
        after_sequence: Annotated[int, strawberry.argument(description="Only what came after.")] = 0,
    ) -> list["StatusEvent"]:
        """Loaded for all notifications of the operation at once."""
        rows = await info.context.loaders.timelines.load((self.id, after_sequence))
        return [StatusEvent.of(row) for row in rows]

    @field(description="Why it became what it became: each decision that was made for it, in order of time.")
    async def decisions(self, info: Info) -> list[Decision]:
        """Made of the status log and the attempts, which are loaded for all notifications at once."""
        return await decisions(self, info)

    @field(description="How long it was in each status, and what it waited for, in order.")
    async def waits(self, info: Info) -> list[Wait]:
        """Made of the same."""
        return await waits(self, info)

    @classmethod
    def of(cls, view: NotificationView) -> Self:
        """From the domain."""
        return cls(
            id=_id(view.id),
            request_id=view.request_id,
            correlation_id=view.correlation_id,
            channel=view.channel,
            status=view.status,
            reason=view.reason,
            sequence=view.sequence,
            recipient=Recipient.of(view.recipient),
            template=None if view.template is None else TemplateChoice.of(view.template),
            category=view.category,
            priority=view.priority,
            provider=view.provider,
            provider_message_id=view.provider_message_id,
            possible_duplicate=view.possible_duplicate,
            metadata=view.metadata,
            attachments=[Attachment.of(file) for file in view.attachments],
            test=view.test,
            created_at=view.created_at,
            send_at=view.send_at,
            deliver_by=view.deliver_by,
            updated_at=view.updated_at,
        )


@strawberry.type(description="One entry of the status log.")
class StatusEvent:
    """One entry of the status log."""

    cursor: str = field(description="Hand it back as `after` to go on from here.")
    position: BigInt = field(description="Its place in the whole log: 1, 2, 3, … without holes.")
    sequence: int = field(description="Its place among the notification's own: 1, 2, 3, … without holes.")
    notification_id: strawberry.ID = field(description="The notification whose status changed.")
    request_id: str = field(description="The caller's own key of its request.")
    channel: Channel = field(description="The notification's channel.")
    status: Status = field(description="The status that it has from here on.")
    previous_status: Status | None = field(description="The status that it had; null for the first entry.")
    reason: str | None = field(description="Why, in one sentence.")
    attempt: int | None = field(description="The delivery attempt that it speaks of.")
    provider: str | None = field(description="The provider that it speaks of.")
    detail: JSON | None = field(description="Particulars for programs.")
    occurred_at: datetime = field(description="When it happened.")
    recorded_at: datetime = field(description="When it was written to the log.")
    correlation_id: str = field(description="Follows the request through every role's logs.")

    @field(description="The notification as it is now, which may be later than this entry.")
    async def notification(self, info: Info) -> Notification:
        """Loaded for all events of the operation at once."""
        view = await info.context.loaders.notifications.load(self.notification_id)
        if view is None:
            raise NotFound("notification", self.notification_id)
        return Notification.of(view)

    @classmethod
    def of(cls, row: LogRow) -> Self:
        """From the domain."""
        return cls(
            cursor=cursor.encode(row.position),
            position=BigInt(row.position),
            sequence=row.sequence,
            notification_id=_id(row.notification_id),
            request_id=row.request_id,
            channel=row.channel,
            status=row.status,
            previous_status=row.previous_status,
            reason=row.reason,
            attempt=row.attempt,
            provider=row.provider,
            detail=None if row.detail is None else JSON(row.detail),
            occurred_at=row.occurred_at,
            recorded_at=row.recorded_at,
            correlation_id=row.correlation_id,
        )


@strawberry.type(description="How many notifications have a status.")
class StatusCount:
    """How many notifications have a status."""

    status: Status = field(description="The status.")
    count: int = field(description="How many have it; statuses that none has are left out.")


def counts_of(view: RequestView) -> list[StatusCount]:
    """In the order in which a notification goes through the statuses."""
    return [StatusCount(status=status, count=view.counts[status]) for status in Status if view.counts.get(status)]


@strawberry.type(description="What a caller submitted; it became one notification per recipient and channel.")
class Request(Node):
    """What a caller submitted."""

    request_id: str = field(description="The caller's own key, unique for the caller; our id where none was given.")
    correlation_id: str = field(description="Follows the request through every role's logs.")
    total: int = field(description="How many notifications it has.")
    counts: list[StatusCount] = field(description="How many of them have each status.")
    finished: bool = field(description="Whether all of them have a final status.")
    created_at: datetime = field(description="When it was accepted.")

    @field(description="Its notifications, in the order of its recipients.")
    async def notifications(
        self,
        info: Info,
        status: Annotated[Status | None, strawberry.argument(description="Only those.")] = None,
        page: PageNumber = 1,
        limit: Limit = 20,
    ) -> "NotificationListPayload":
        """A list within an answer has the envelope too: a page that cannot be is data, not an error."""
        try:
            check_page(page, limit)
            found = await info.context.services.queries.notifications_of_request(self.id, status, page, limit)
        except HeliographError as error:
            shown = error_of(error)
            if shown is None:
                raise
            return NotificationListPayload.failed(shown)
        return NotificationListPayload.of(found)

    @classmethod
    def of(cls, view: RequestView) -> Self:
        """From the domain."""
        return cls(
            id=_id(view.id),
            request_id=view.request_id,
            correlation_id=view.correlation_id,
            total=view.total,
            counts=counts_of(view),
            finished=view.finished,
            created_at=view.created_at,
        )


@strawberry.type(description="How far a request has come.")
class RequestProgress:
    """How far a request has come."""

    request_id: str = field(description="The caller's own key.")
    total: int = field(description="How many notifications it has.")
    counts: list[StatusCount] = field(description="How many of them have each status.")
    finished: bool = field(description="Whether all of them have a final status.")
    percent: float = field(description="How many of them have a final status, 0 to 100.")

    @classmethod
    def of(cls, view: RequestView) -> Self:
        """From the domain."""
        return cls(
            request_id=view.request_id,
            total=view.total,
            counts=counts_of(view),
            finished=view.finished,
            percent=view.percent,
        )


@strawberry.type(description="One notification.")
class NotificationPayload(Response):
    """One notification."""

    data: Notification | None = field(default=None, description="The notification; with TOO_LATE as it stands.")


@strawberry.type(description="A page of notifications.")
class NotificationListPayload(Response):
    """A page of notifications."""

    data: list[Notification] | None = field(default=None, description="The notifications; null on failure.")

    @classmethod
    def of(cls, found: Page[NotificationView]) -> Self:
        """From the read side."""
        items: list[Any] = [Notification.of(view) for view in found.items]
        return cls.ok(items, meta=PageMeta.of(found.total, found.page, found.limit))


@strawberry.type(description="One request.")
class RequestPayload(Response):
    """One request."""

    data: Request | None = field(default=None, description="The request; null on failure.")
