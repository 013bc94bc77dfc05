"""What callers send, and its way into a `Submission`. The rules themselves are the domain's (`domain.submission`)."""

from datetime import datetime
from typing import Any, TypeVar

import msgspec
import strawberry
from strawberry import UNSET
from strawberry.scalars import JSON

from api.gateway.queries import NotificationFilter as Where
from api.gateway.schema.attachments import AttachmentInput
from api.gateway.schema.context import Context
from domain.errors import FieldProblem, ValidationFailed
from domain.notification import Channel, Priority, Status
from domain.outgoing import PushAction, PushOptions
from domain.ports import LogFilter
from domain.submission import DEFAULT_CATEGORY, RecipientRef, Submission, TemplateRef
from domain.template import Content

field = strawberry.field
T = TypeVar("T")

_LIQUID = "Liquid."
_ATTACHMENTS = "Up to 10 files that go with the mail, by reference. Email only: a push ignores them."


def given(value: T | None) -> T | None:
    """The value, None where it was left out."""
    return None if value is UNSET else value


@strawberry.input(one_of=True, description="Who it is for: exactly one of the three.")
class RecipientInput:
    """Who it is for."""

    user_id: strawberry.ID | None = field(default=UNSET, description="A user of the User Service.")
    email: str | None = field(default=UNSET, description="An address that need not belong to a user.")
    device_token: str | None = field(default=UNSET, description="A device token that need not belong to a user.")

    def read(self, variables: dict[str, Any] | None = None) -> RecipientRef:
        """For the domain."""
        return RecipientRef(
            user_id=given(self.user_id),
            email=given(self.email),
            device_token=given(self.device_token),
            variables=variables,
        )


@strawberry.input(description="Which template.")
class TemplateInput:
    """Which template."""

    key: str = field(description="Its key.")
    version: int | None = field(default=UNSET, description="A certain version; the published one when left out.")
    locale: str | None = field(default=UNSET, description="A certain language; the recipient's when left out.")

    def read(self) -> TemplateRef:
        """For the domain."""
        return TemplateRef(key=self.key, version=given(self.version), locale=given(self.locale) or None)


@strawberry.input(description="What to say, instead of a template. Email needs subject and html or text, push a title.")
class ContentInput:
    """What to say, instead of a template."""

    subject: str | None = field(default=UNSET, description=f"Email: the subject, one line. {_LIQUID}")
    html: str | None = field(default=UNSET, description=f"Email: the HTML part. {_LIQUID}")
    text: str | None = field(default=UNSET, description=f"Email: the text part. {_LIQUID}")
    title: str | None = field(default=UNSET, description=f"Push: the title, one line. {_LIQUID}")
    body: str | None = field(default=UNSET, description=f"Push: the text. {_LIQUID}")

    def read(self) -> Content:
        """For the domain."""
        return Content(
            subject=given(self.subject),
            html=given(self.html),
            text=given(self.text),
            title=given(self.title),
            body=given(self.body),
        )


@strawberry.input(description="A button on a rich push notification.")
class PushActionInput:
    """A button on a rich push notification."""

    id: str = field(description="What the app is told when it is pressed.")
    title: str = field(description="What is written on it.")
    url: str | None = field(default=UNSET, description="What it opens.")


@strawberry.input(description="What a push notification carries besides its text.")
class PushInput:
    """What a push notification carries besides its text."""

    image_url: str | None = field(default=UNSET, description="A picture on the public internet, http or https.")
    click_url: str | None = field(default=UNSET, description="What a click opens, http or https.")
    data: JSON | None = field(default=UNSET, description="An object for the app; its values are texts.")
    badge: int | None = field(default=UNSET, description="The number on the app's icon.")
    sound: str | None = field(default=UNSET, description="The sound that it makes.")
    collapse_key: str | None = field(default=UNSET, description="Replaces an earlier one with the same key.")
    ttl_seconds: int | None = field(default=UNSET, description="How long the provider keeps trying, up to 28 days.")
    actions: list[PushActionInput] | None = field(default=UNSET, description="Buttons.")

    def read(self) -> PushOptions:
        """For the domain; raises `ValidationFailed` when `data` is no object."""
        actions = [PushAction(id=action.id, title=action.title, url=given(action.url)) for action in self.actions or ()]
        return PushOptions(
            image_url=given(self.image_url),
            click_url=given(self.click_url),
            data=_texts(given(self.data)),
            badge=given(self.badge),
            sound=given(self.sound),
            collapse_key=given(self.collapse_key),
            ttl_seconds=given(self.ttl_seconds),
            actions=tuple(actions),
        )


@strawberry.input(description="One recipient of a batch.")
class BatchRecipientInput:
    """One recipient of a batch."""

    recipient: RecipientInput = field(description="Who it is for.")
    variables: JSON | None = field(default=UNSET, description="An object; wins over the batch's own variables.")


@strawberry.input(description="Tell one recipient something.")
class SendNotificationInput:
    """Tell one recipient something."""

    recipient: RecipientInput = field(description="Who it is for.")
    request_id: str | None = field(
        default=UNSET,
        description="Idempotency key, unique for your client: the same input again gives the same answer.",
    )
    channels: list[Channel] | None = field(
        default=UNSET, description="Left out: every channel that reaches the recipient and has a body."
    )
    template: TemplateInput | None = field(default=UNSET, description="What to say: this or content.")
    content: ContentInput | None = field(default=UNSET, description="What to say: this or template.")
    variables: JSON | None = field(default=UNSET, description="An object: what the template's variables stand for.")
    category: str | None = field(default=UNSET, description='What it is about, for preferences; default "general".')
    priority: Priority | None = field(default=UNSET, description="Who goes first; default NORMAL.")
    send_at: datetime | None = field(default=UNSET, description="Not before then, up to 366 days ahead.")
    deliver_by: datetime | None = field(default=UNSET, description="Not after then: it expires instead.")
    push: PushInput | None = field(default=UNSET, description="What push carries besides its text.")
    attachments: list[AttachmentInput] | None = field(default=UNSET, description=_ATTACHMENTS)
    metadata: JSON | None = field(default=UNSET, description="Your own; given back as it was.")

    def read(self, context: Context) -> Submission:
        """For the domain; raises `ValidationFailed` for what has the wrong type."""
        return _submission(self, context, (self.recipient.read(),), batch=False)


@strawberry.input(description="Tell up to 1,000 recipients something; all of them or none.")
class SendBatchInput:
    """Tell up to 1,000 recipients something."""

    recipients: list[BatchRecipientInput] = field(description="Who it is for: 1 to 1,000.")
    request_id: str | None = field(
        default=UNSET,
        description="Idempotency key, unique for your client: the same input again gives the same answer.",
    )
    channels: list[Channel] | None = field(
        default=UNSET, description="Left out: for each recipient every channel that reaches them and has a body."
    )
    template: TemplateInput | None = field(default=UNSET, description="What to say: this or content.")
    content: ContentInput | None = field(default=UNSET, description="What to say: this or template.")
    variables: JSON | None = field(default=UNSET, description="An object for all; each recipient's own win.")
    category: str | None = field(default=UNSET, description='What it is about, for preferences; default "general".')
    priority: Priority | None = field(default=UNSET, description="Who goes first; default NORMAL.")
    send_at: datetime | None = field(default=UNSET, description="Not before then, up to 366 days ahead.")
    deliver_by: datetime | None = field(default=UNSET, description="Not after then: it expires instead.")
    push: PushInput | None = field(default=UNSET, description="What push carries besides its text.")
    attachments: list[AttachmentInput] | None = field(default=UNSET, description=f"{_ATTACHMENTS} The same for all.")
    metadata: JSON | None = field(default=UNSET, description="Your own; given back as it was.")

    def read(self, context: Context) -> Submission:
        """For the domain; raises `ValidationFailed` for what has the wrong type."""
        recipients = tuple(
            each.recipient.read(_object(("recipients", str(index), "variables"), given(each.variables)))
            for index, each in enumerate(self.recipients)
        )
        return _submission(self, context, recipients, batch=True)


@strawberry.input(description="Which notifications; what is left out does not matter.")
class NotificationFilter:
    """Which notifications."""

    request_id: str | None = field(default=UNSET, description="Those of this request.")
    user_id: strawberry.ID | None = field(default=UNSET, description="Those for this user.")
    channel: Channel | None = field(default=UNSET, description="Those on this channel.")
    status: list[Status] | None = field(default=UNSET, description="Those with one of these statuses.")
    category: str | None = field(default=UNSET, description="Those about this.")
    created_after: datetime | None = field(default=UNSET, description="Those accepted later.")
    created_before: datetime | None = field(default=UNSET, description="Those accepted earlier.")

    def read(self) -> Where:
        """For the read side; raises `ValidationFailed` for a time without its offset."""
        problems = [
            FieldProblem(("filter", name), "time_zone", "takes a time with its offset, such as 2030-01-31T09:00:00Z")
            for name in ("created_after", "created_before")
            if (moment := given(getattr(self, name))) is not None and moment.tzinfo is None
        ]
        if problems:
            raise ValidationFailed(problems)
        return Where(
            request_id=given(self.request_id),
            user_id=given(self.user_id),
            channel=given(self.channel),
            status=frozenset(self.status) if self.status else None,
            category=given(self.category),
            created_after=given(self.created_after),
            created_before=given(self.created_before),
        )


@strawberry.input(description="Which status events; what is left out does not matter.")
class StatusFeedFilter:
    """Which status events."""

    channel: Channel | None = field(default=UNSET, description="Those of this channel's notifications.")
    status: list[Status] | None = field(default=UNSET, description="Changes to one of these statuses.")
    category: str | None = field(default=UNSET, description="Those of notifications about this.")
    user_id: strawberry.ID | None = field(default=UNSET, description="Those of notifications for this user.")

    def read(self) -> LogFilter:
        """For the feed."""
        return LogFilter(
            channel=given(self.channel),
            status=frozenset(self.status) if self.status else None,
            category=given(self.category),
            user_id=given(self.user_id),
        )


def _submission(
    given_input: SendNotificationInput | SendBatchInput,
    context: Context,
    recipients: tuple[RecipientRef, ...],
    *,
    batch: bool,
) -> Submission:
    channels = given(given_input.channels)
    return Submission(
        client=context.principal.client,
        request_id=given(given_input.request_id),
        recipients=recipients,
        batch=batch,
        channels=None if channels is None else tuple(channels),
        template=given_input.template.read() if given_input.template else None,
        content=given_input.content.read() if given_input.content else None,
        variables=_object(("variables",), given(given_input.variables)) or {},
        category=DEFAULT_CATEGORY if (category := given(given_input.category)) is None else category,
        priority=given(given_input.priority) or Priority.NORMAL,
        send_at=given(given_input.send_at),
        deliver_by=given(given_input.deliver_by),
        push=given_input.push.read() if given_input.push else None,
        metadata=given(given_input.metadata),
        correlation_id=context.correlation_id,
        traceparent=context.traceparent,
        test=True if context.principal.test else msgspec.UNSET,
        attachments=tuple(each.read() for each in given_input.attachments or ()) or msgspec.UNSET,
    )


def _object(path: tuple[str, ...], value: Any) -> dict[str, Any] | None:
    if value is None or isinstance(value, dict):
        return value
    raise ValidationFailed([FieldProblem(path, "type", "takes an object")])


def _texts(data: Any) -> dict[str, str]:
    given_data = _object(("push", "data"), data)
    problems = [
        FieldProblem(("push", "data", name), "type", "takes a text")
        for name, value in (given_data or {}).items()
        if not isinstance(value, str)
    ]
    if problems:
        raise ValidationFailed(problems[:100])
    return given_data or {}
