"""Subscriptions that end by themselves: those to one notification or one request.

Retention leaves what it keeps whole, so they begin at the first entry wherever the log's horizon is.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from api.gateway.feed import Follower
from domain.notification import FINAL
from domain.ports import LogFilter, LogRow


async def follow_notification(
    feed: Follower, notification_id: str, after: int | None = None, follow: bool = False
) -> AsyncGenerator[LogRow, None]:
    """The status changes of one notification that exists, from its first or from `after` on.

    Ends after the first final status that it yields; when resumed where nothing followed a final status it ends at
    once. With `follow` it goes on, for confirmations, bounces and replays. Raises `CursorExpired`.
    """
    where = LogFilter(notification_id=notification_id)
    if after is not None:
        await feed.check_cursor(after)
        if not follow and await _rests_since(feed, where, after):
            return
    async with aclosing(feed.subscribe(where, 0 if after is None else after)) as rows:
        async for row in rows:
            yield row
            if row.status in FINAL and not follow:
                return


async def follow_request(
    feed: Follower, request: str, total: int, after: int | None = None, follow: bool = False
) -> AsyncGenerator[LogRow, None]:
    """The status changes of the `total` notifications of one request, from its first or from `after` on.

    Ends when each of them has had a final status (a FAILED that is replayed later counts); those that had one up to
    `after` are counted from the log. With `follow` it goes on. Raises `CursorExpired`.
    """
    where = LogFilter(request=request)
    done: set[str] = set()
    if after is not None:
        await feed.check_cursor(after)
        done = set() if follow else await _final_until(feed, where, after)
    if len(done) >= total and not follow:
        return
    async with aclosing(feed.subscribe(where, 0 if after is None else after)) as rows:
        async for row in rows:
            yield row
            if row.status in FINAL and not follow:
                done.add(row.notification_id)
                if len(done) >= total:
                    return


async def _rests_since(feed: Follower, where: LogFilter, after: int) -> bool:
    """Whether the last row that passes is final and not after `after`. (One notification has few rows.)"""
    last: LogRow | None = None
    async with aclosing(feed.replay(where, 0)) as rows:
        async for row in rows:
            last = row
    return last is not None and last.position <= after and last.status in FINAL


async def _final_until(feed: Follower, where: LogFilter, until: int) -> set[str]:
    """The notifications that had a final status up to `until`."""
    final = msgspec.structs.replace(where, status=FINAL)
    async with aclosing(feed.replay(final, 0, until)) as rows:
        return {row.notification_id async for row in rows}
