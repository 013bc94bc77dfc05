"""The subscriptions: the status log, live. Their failures are top-level errors, after which they complete."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import msgspec
import strawberry
from strawberry import UNSET

from api.access import allow_user, owner_of
from api.gateway import cursor
from api.gateway.follow import follow_notification, follow_request
from api.gateway.schema.context import Info
from api.gateway.schema.inputs import StatusFeedFilter, given
from api.gateway.schema.notifications import RequestProgress, StatusEvent
from api.gateway.schema.progress import progress
from api.gateway.schema.sending import NotificationId, notification_of, request_of
from api.gateway.schema.system import SystemSubscriptions
from api.security import Principal, Scope
from domain.ports import LogFilter, LogRow

After = Annotated[
    str | None, strawberry.argument(description="A cursor that you were given: go on right after it, without a hole.")
]
Follow = Annotated[
    bool, strawberry.argument(description="Go on after the final status, for confirmations, bounces and replays.")
]
RequestKey = Annotated[str, strawberry.argument(description="The key that the request was submitted with.")]


@strawberry.type(description="What can be watched. Each entry of the status log comes once, in order, without holes.")
class Subscription(SystemSubscriptions):
    """What can be watched."""

    @strawberry.subscription(
        description="The status changes of one notification, from its first; ends after the final one."
    )
    async def notification_status(
        self, info: Info, id: NotificationId, after: After = UNSET, follow: Follow = False
    ) -> AsyncGenerator[StatusEvent, None]:
        """NOT_FOUND, CURSOR_EXPIRED, FORBIDDEN."""
        await info.context.admit(Scope.NOTIFICATIONS_READ, end_users=True)
        position = _position(info, after)
        view = await notification_of(info, id)
        rows = follow_notification(info.context.services.feed, view.id, position, follow)
        async with aclosing(_events(info, rows)) as events:
            async for event in events:
                yield event

    @strawberry.subscription(
        description="The status changes of a request's notifications, from the first; ends when all have a final one."
    )
    async def request_status(
        self, info: Info, request_id: RequestKey, after: After = UNSET, follow: Follow = False
    ) -> AsyncGenerator[StatusEvent, None]:
        """NOT_FOUND, CURSOR_EXPIRED, FORBIDDEN."""
        await info.context.admit(Scope.NOTIFICATIONS_READ)
        position = _position(info, after)
        view = await request_of(info, request_id)
        rows = follow_request(info.context.services.feed, view.id, view.total, position, follow)
        async with aclosing(_events(info, rows)) as events:
            async for event in events:
                yield event

    @strawberry.subscription(
        description="How far a request has come: at once, and when it changes, about four times a second at most; "
        "ends when it is finished."
    )
    async def request_progress(self, info: Info, request_id: RequestKey) -> AsyncGenerator[RequestProgress, None]:
        """NOT_FOUND, FORBIDDEN."""
        await info.context.admit(Scope.NOTIFICATIONS_READ)
        view = await request_of(info, request_id)
        services = info.context.services
        async with aclosing(progress(services.feed, services.queries, view.id)) as views:
            async for current in views:
                yield RequestProgress.of(current)

    @strawberry.subscription(description="Every status change that you may see, from now on or from a cursor.")
    async def status_feed(
        self,
        info: Info,
        after: After = UNSET,
        filter: Annotated[StatusFeedFilter | None, strawberry.argument(description="Which ones.")] = UNSET,
    ) -> AsyncGenerator[StatusEvent, None]:
        """CURSOR_EXPIRED, FORBIDDEN. Never ends by itself."""
        await info.context.admit(Scope.NOTIFICATIONS_READ, end_users=True)
        where = _theirs(info.context.principal, filter.read() if filter else LogFilter())
        rows = info.context.services.feed.subscribe(where, _position(info, after))
        async with aclosing(_events(info, rows)) as events:
            async for event in events:
                yield event


def _theirs(principal: Principal, where: LogFilter) -> LogFilter:
    """An end user's feed is about them, whatever they ask for. Raises `Forbidden` when it is somebody else's."""
    owner = owner_of(principal)
    if owner is None:
        return where
    allow_user(principal, where.user_id or owner)
    return msgspec.structs.replace(where, user_id=owner)


def _position(info: Info, after: str | None) -> int | None:
    """Where to go on: after the later of the two, where a client that comes back still says what it began with."""
    cursors = [text for text in (given(after), info.context.last_event_id) if text is not None]
    return max(map(cursor.decode, cursors), default=None)


async def _events(info: Info, rows: AsyncGenerator[LogRow, None]) -> AsyncGenerator[StatusEvent, None]:
    async with aclosing(rows):
        async for row in rows:
            info.context.renew()
            info.context.position = row.position
            yield StatusEvent.of(row)
