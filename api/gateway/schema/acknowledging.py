"""What a recipient's own device or page says of a notification."""

from typing import Annotated

import strawberry

from api.gateway.schema.context import Info
from api.gateway.schema.enums import describe
from api.gateway.schema.envelope import Answers
from api.gateway.schema.notifications import Notification, NotificationPayload
from api.gateway.schema.sending import NotificationId, notification_of
from api.security import Scope
from domain.callbacks import Acknowledgement

describe(
    Acknowledgement,
    "What the recipient's own device or page says of a notification.",
    {
        "DELIVERED": "It came. The notification becomes DELIVERED.",
        "OPENED": "It was opened. Kept with the notification; its status stays.",
        "CLICKED": "It was clicked. Kept with the notification; its status stays.",
    },
)


@strawberry.type
class AcknowledgementMutations:
    """Mixed into `Mutation`."""

    @strawberry.mutation(
        description="Say that a notification arrived, was opened or was clicked. Saying it again changes nothing.",
        extensions=[Answers(NotificationPayload, Scope.NOTIFICATIONS_SEND, end_users=True)],
    )
    async def acknowledge_notification(
        self,
        info: Info,
        id: NotificationId,
        kind: Annotated[Acknowledgement, strawberry.argument(description="What happened.")] = Acknowledgement.DELIVERED,
    ) -> NotificationPayload:
        """The answer is the notification as it stands; whether it applied, its status and callbacks say."""
        await notification_of(info, id)
        return NotificationPayload.ok(Notification.of(await info.context.services.acknowledge(id, kind)), "Noted.")
