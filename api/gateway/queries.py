"""Reading what was accepted and what became of it: for GraphQL, REST and the command line. Never locks anything."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from tortoise.queryset import QuerySet

from api.database import Database, parse_time
from api.gateway.rows import attempt_of, callback_of, log_row_of, notification_of
from api.gateway.tables import AttemptRow, CallbackRow, LogEntry, Notification, Request
from domain.callbacks import Callback
from domain.events import LEASE_ENDED, Attempt
from domain.notification import Channel, Status
from domain.ports import LogRow
from domain.views import NotificationView, RequestView

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list; `page` counts from 1, `total` counts all pages' items."""

    items: list[T]
    total: int
    page: int
    limit: int


class Slice(msgspec.Struct, Generic[T], frozen=True):
    """Neighbours in a list, in its order. `more`: there are others beyond them in the direction of reading."""

    items: list[T]
    more: bool


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a list by age, the newest first: what comes `after` one id and `before` another (None: its ends).

    Of that the first `limit`, or the last, if it is read `backwards`. It stays right while rows are added.
    """

    after: str | None = None
    before: str | None = None
    limit: int
    backwards: bool = False


class NotificationFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which notifications are listed; None means any."""

    request_id: str | None = None
    user_id: str | None = None
    channel: Channel | None = None
    status: frozenset[Status] | None = None
    category: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


class Queries:
    """The gateway's read side."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def notification(self, id: str) -> NotificationView | None:
        """One notification, or None."""
        return (await self.notifications_by_id([id])).get(id)

    async def notifications_by_id(self, ids: Iterable[str]) -> dict[str, NotificationView]:
        """Those that exist, in one call."""
        rows = await Notification.filter(id__in=list(ids)).values()
        return {view.id: view for view in await self._views(rows)}

    async def notifications(self, where: NotificationFilter, page: int, limit: int) -> Page[NotificationView]:
        """Newest first."""
        return await self._page(_filtered(where).order_by("-id"), page, limit)

    async def notifications_along(self, where: NotificationFilter, stretch: Stretch) -> Slice[NotificationView]:
        """Newest first, without counting or skipping any row."""
        found = _filtered(where)
        if stretch.after is not None:
            found = found.filter(id__lt=stretch.after)
        if stretch.before is not None:
            found = found.filter(id__gt=stretch.before)
        rows = await found.order_by("id" if stretch.backwards else "-id").limit(stretch.limit + 1).values()
        kept = rows[: stretch.limit]
        return Slice(await self._views(kept[::-1] if stretch.backwards else kept), len(rows) > stretch.limit)

    async def notifications_of_request(
        self, request: str, status: Status | None, page: int, limit: int
    ) -> Page[NotificationView]:
        """In the order of the request's recipients."""
        found = Notification.filter(request=request)
        return await self._page((found.filter(status=status.value) if status else found).order_by("id"), page, limit)

    async def request(self, client: str | None, request_id: str) -> RequestView | None:
        """By the caller's own key; with `client` None the newest of any client."""
        found = Request.filter(request_id=request_id)
        rows = await (found.filter(client=client) if client else found).order_by("-id").limit(1).values()
        views = await self._request_views(rows)
        return next(iter(views.values()), None)

    async def request_by_id(self, id: str) -> RequestView | None:
        """By our own id."""
        return (await self.requests_by_id([id])).get(id)

    async def requests_by_id(self, ids: Iterable[str]) -> dict[str, RequestView]:
        """Those that exist, with their counts, in two calls."""
        return await self._request_views(await Request.filter(id__in=list(ids)).values())

    async def attempts(self, ids: Iterable[str]) -> dict[str, list[Attempt]]:
        """The attempts of each notification, in order."""
        rows = await AttemptRow.filter(notification_id__in=list(ids)).order_by("number", "id").values()
        grouped: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            grouped.setdefault(row["notification_id"], []).append(row)
        return {id: [attempt_of(row) for row in _known(rows)] for id, rows in grouped.items()}

    async def callbacks(self, ids: Iterable[str]) -> dict[str, list[Callback]]:
        """What was said of each notification after it was sent, in the order in which we heard it."""
        grouped: dict[str, list[Callback]] = {}
        for row in await CallbackRow.filter(notification_id__in=list(ids)).order_by("id").values():
            grouped.setdefault(row["notification_id"], []).append(callback_of(row))
        return grouped

    async def timeline(self, ids: Iterable[str], after_sequence: int = 0) -> dict[str, list[LogRow]]:
        """The status log of each notification, in order of sequence."""
        rows = (
            await LogEntry.filter(notification_id__in=list(ids), sequence__gt=after_sequence)
            .order_by("position")
            .values()
        )
        grouped: dict[str, list[LogRow]] = {}
        for row in rows:
            grouped.setdefault(row["notification_id"], []).append(log_row_of(row))
        return grouped

    async def _page(self, found: QuerySet[Notification], page: int, limit: int) -> Page[NotificationView]:
        total = await found.count()
        rows = await found.offset((page - 1) * limit).limit(limit).values()
        return Page(await self._views(rows), total, page, limit)

    async def _views(self, rows: Sequence[Mapping[str, Any]]) -> list[NotificationView]:
        requests = {row["request"] for row in rows}
        if not requests:
            return []
        found = await Request.filter(id__in=list(requests)).values_list("id", "metadata", "attachments")
        shared = {id: (metadata, attachments) for id, metadata, attachments in found}
        return [notification_of(row, *shared.get(row["request"], (None, None))) for row in rows]

    async def _request_views(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, RequestView]:
        counts = await self._counts([row["id"] for row in rows])
        return {row["id"]: _request_view(row, counts.get(row["id"], {})) for row in rows}

    async def _counts(self, requests: Sequence[str]) -> dict[str, dict[Status, int]]:
        if not requests:
            return {}
        listed = ", ".join(f"${number}" for number in range(1, len(requests) + 1))
        text = f"SELECT request, status, count(*) AS n FROM notifications WHERE request IN ({listed}) GROUP BY 1, 2"
        counts: dict[str, dict[Status, int]] = {}
        for row in await self._database.query(text, list(requests)):
            counts.setdefault(row["request"], {})[Status(row["status"])] = row["n"]
        return counts


def _filtered(where: NotificationFilter) -> QuerySet[Notification]:
    conditions = {
        "request_id": where.request_id,
        "user_id": where.user_id,
        "channel": where.channel.value if where.channel else None,
        "status__in": [status.value for status in where.status] if where.status else None,
        "category": where.category,
        "created_at__gt": where.created_after,
        "created_at__lt": where.created_before,
    }
    return Notification.filter(**{name: value for name, value in conditions.items() if value is not None})


def _known(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Without the placeholder of an attempt that was given up for lost and whose provider was heard of later."""
    heard = {row["number"] for row in rows if row["code"] != LEASE_ENDED}
    return [row for row in rows if row["code"] != LEASE_ENDED or row["number"] not in heard]


def _request_view(row: Mapping[str, Any], counts: dict[Status, int]) -> RequestView:
    return RequestView(
        id=row["id"],
        request_id=row["request_id"],
        correlation_id=row["correlation_id"],
        total=row["total"],
        counts=counts,
        created_at=parse_time(row["created_at"]),
    )
