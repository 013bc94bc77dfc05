"""How far a request has come, told as often as somebody can follow and no oftener."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from api.gateway.feed import Follower
from api.gateway.schema.services import Reads
from domain.concurrency import Tasks
from domain.errors import NotFound
from domain.ports import LogFilter, LogRow
from domain.views import RequestView

INTERVAL = 0.25
"""Seconds between two reads of the counts, at least."""
PATIENCE = 30.0
"""Seconds after which the counts are read even though nothing was heard."""


async def progress(
    feed: Follower, queries: Reads, request: str, interval: float = INTERVAL
) -> AsyncGenerator[RequestView, None]:
    """The request as it stands, then each time that its counts have changed; ends with the view that is finished.

    What changes within `interval` seconds is told at once and together. Close the generator.
    """
    # Listening begins before the counts are read, so no change falls between the two.
    async with _changes(feed.subscribe(LogFilter(request=request))) as changed:
        told: RequestView | None = None
        while told is None or not told.finished:
            changed.clear()
            view = await queries.request_by_id(request)
            if view is None:
                raise NotFound("request", request)
            if told is None or view.counts != told.counts:
                told = view
                yield view
            if not told.finished:
                await asyncio.sleep(interval)
                await _wait(changed)


@asynccontextmanager
async def _changes(rows: AsyncGenerator[LogRow, None]) -> AsyncIterator[asyncio.Event]:
    changed = asyncio.Event()

    async def listen() -> None:
        async with aclosing(rows):
            async for _ in rows:
                changed.set()

    tasks = Tasks()
    _ = tasks.start("progress", listen())
    try:
        yield changed
    finally:
        await tasks.cancel()


async def _wait(changed: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            await changed.wait()
    except TimeoutError:
        pass
