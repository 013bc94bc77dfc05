"""The root fields about requests and notifications."""

from typing import Annotated

import msgspec
import strawberry
from strawberry import UNSET

from api.access import allow_user, may_see, owner_of
from api.gateway.queries import NotificationFilter as Where
from api.gateway.schema.context import Info
from api.gateway.schema.envelope import Answers, Response, check_page
from api.gateway.schema.errors import GenericError
from api.gateway.schema.inputs import NotificationFilter, SendBatchInput, SendNotificationInput
from api.gateway.schema.notifications import (
    Notification,
    NotificationListPayload,
    NotificationPayload,
    Request,
    RequestPayload,
)
from api.gateway.schema.paging import Limit, PageNumber
from api.security import Principal, Scope
from domain.errors import ErrorCode, Forbidden, NotFound, TooLate
from domain.ids import NOTIFICATION, is_id
from domain.send import send
from domain.submission import Submission
from domain.views import NotificationView, Receipt, RequestView

field = strawberry.field
NO_SANDBOX = (
    "This is a test key, and there is no sandbox for what it sends: "
    "set HELIOGRAPH_SANDBOX_SMTP_URL and HELIOGRAPH_SANDBOX_FCM_URL for the gateway and its workers."
)
NotificationId = Annotated[strawberry.ID, strawberry.argument(description="The notification.")]


@strawberry.type(description="The answer to a submission. Everything in it is stored for good.")
class SendReceipt:
    """The answer to a submission."""

    request: Request = field(description="The request.")
    notifications: list[Notification] = field(description="Its notifications; the first 100 of a batch.")
    duplicate: bool = field(description="Whether this very request was accepted before; nothing was done again.")
    accepted: int = field(description="How many notifications are on their way; SKIPPED ones are not.")

    @classmethod
    def of(cls, receipt: Receipt) -> "SendReceipt":
        """From the domain."""
        return cls(
            request=Request.of(receipt.request),
            notifications=[Notification.of(view) for view in receipt.notifications],
            duplicate=receipt.duplicate,
            accepted=receipt.accepted,
        )


@strawberry.type(description="The answer to a submission.")
class SendNotificationPayload(Response):
    """The answer to a submission."""

    data: SendReceipt | None = field(default=None, description="The receipt; null on failure, and nothing was stored.")


@strawberry.type
class NotificationQueries:
    """Mixed into `Query`."""

    @field(
        description="One notification.",
        extensions=[Answers(NotificationPayload, Scope.NOTIFICATIONS_READ, end_users=True)],
    )
    async def notification(self, info: Info, id: NotificationId) -> NotificationPayload:
        """By id."""
        return NotificationPayload.ok(Notification.of(await notification_of(info, id)))

    @field(
        description="Notifications, the newest first.",
        extensions=[Answers(NotificationListPayload, Scope.NOTIFICATIONS_READ, end_users=True)],
    )
    async def notifications(
        self,
        info: Info,
        filter: Annotated[NotificationFilter | None, strawberry.argument(description="Which ones.")] = UNSET,
        page: PageNumber = 1,
        limit: Limit = 20,
    ) -> NotificationListPayload:
        """A page."""
        check_page(page, limit)
        where = theirs(info.context.principal, (filter or NotificationFilter()).read())
        return NotificationListPayload.of(await info.context.services.queries.notifications(where, page, limit))

    @field(
        description="One request by the caller's own key: your client's, else the newest of any client.",
        extensions=[Answers(RequestPayload, Scope.NOTIFICATIONS_READ)],
    )
    async def request(
        self,
        info: Info,
        request_id: Annotated[str, strawberry.argument(description="The key that it was submitted with.")],
    ) -> RequestPayload:
        """By the caller's own key."""
        return RequestPayload.ok(Request.of(await request_of(info, request_id)))


@strawberry.type
class NotificationMutations:
    """Mixed into `Mutation`."""

    @strawberry.mutation(
        description="Tell one recipient something. When it answers, the notification survives any crash.",
        extensions=[Answers(SendNotificationPayload, Scope.NOTIFICATIONS_SEND)],
    )
    async def send_notification(
        self, info: Info, input: Annotated[SendNotificationInput, strawberry.argument(description="What, and to whom.")]
    ) -> SendNotificationPayload:
        """Verb 1 of the domain."""
        return await _accept(info, input.read(info.context))

    @strawberry.mutation(
        description="Tell up to 1,000 recipients something. All of them are accepted or none.",
        extensions=[Answers(SendNotificationPayload, Scope.NOTIFICATIONS_SEND)],
    )
    async def send_batch(
        self, info: Info, input: Annotated[SendBatchInput, strawberry.argument(description="What, and to whom.")]
    ) -> SendNotificationPayload:
        """Verb 1 of the domain."""
        return await _accept(info, input.read(info.context))

    @strawberry.mutation(
        description="Cancel before the first attempt begins. TOO_LATE afterwards, with the notification as it stands.",
        extensions=[Answers(NotificationPayload, Scope.NOTIFICATIONS_SEND)],
    )
    async def cancel_notification(self, info: Info, id: NotificationId) -> NotificationPayload:
        """A compare-and-set; cancelling twice answers the same."""
        if not is_id(NOTIFICATION, id):
            raise NotFound("notification", id)
        if info.context.principal.test and not (await notification_of(info, id)).test:
            raise Forbidden("A test key cancels only what test keys have sent.")
        try:
            view = await info.context.services.cancel(id)
        except TooLate as error:
            current: NotificationView | None = getattr(error, "notification", None)
            shown = GenericError(code=ErrorCode.TOO_LATE, message=error.message)
            return NotificationPayload.failed(shown, Notification.of(current) if current else None)
        return NotificationPayload.ok(Notification.of(view), "Cancelled.")


def theirs(principal: Principal, where: Where) -> Where:
    """An end user's notifications are those for them. Raises `Forbidden` when they ask for somebody else's."""
    owner = owner_of(principal)
    if owner is None:
        return where
    allow_user(principal, where.user_id or owner)
    return msgspec.structs.replace(where, user_id=owner)


async def notification_of(info: Info, id: str) -> NotificationView:
    """The notification with this id that the caller may see; raises `NotFound`."""
    found = await info.context.services.queries.notification(id) if is_id(NOTIFICATION, id) else None
    if found is None or not may_see(info.context.principal, found):
        raise NotFound("notification", id)
    return found


async def request_of(info: Info, request_id: str) -> RequestView:
    """The caller's own request with this key, else the newest of any client; raises `NotFound`."""
    if "\0" in request_id:  # no database can hold it
        raise NotFound("request", request_id)
    queries = info.context.services.queries
    found = await queries.request(info.context.principal.client, request_id)
    if found is None:
        found = await queries.request(None, request_id)
    if found is None:
        raise NotFound("request", request_id)
    return found


async def _accept(info: Info, submission: Submission) -> SendNotificationPayload:
    if info.context.principal.test and not info.context.services.sandbox:
        raise Forbidden(NO_SANDBOX)
    receipt = await send(submission, info.context.services.send_ports)
    return SendNotificationPayload.ok(SendReceipt.of(receipt), _told(receipt))


def _told(receipt: Receipt) -> str:
    if receipt.duplicate:
        return "This request was accepted before; nothing was done again."
    if receipt.accepted < receipt.request.total:
        return f"Accepted {receipt.accepted:,} of {receipt.request.total:,}; the others were skipped."
    return f"Accepted {receipt.accepted:,}."
