"""A gateway's feed over fakes, as the feed's tests use it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from api.gateway.feed import Follower
from domain.channels import STATUS_CHANNEL
from domain.doorbell import encode_rows
from domain.notification import Status
from domain.ports import LogRow
from tests.unit.feed_fakes import FakeBell, FakeLog

NEVER = 1e6
"""A poll that does not come: what happens, happens for another reason."""


class Gateway:
    """A feed over fakes."""

    def __init__(self, log: FakeLog, poll: float, buffer: int) -> None:
        self.log, self.bell = log, FakeBell()
        self.feed = Follower(log, self.bell, poll=poll, page=10, buffer=buffer)

    def commit(self, *rows: LogRow) -> None:
        """Ring as a writer does after its commit."""
        self.bell.ring(STATUS_CHANNEL, encode_rows(rows))

    async def caught_up(self) -> None:
        """Wait until the feed stands at the log's head."""
        async with asyncio.timeout(60):
            while self.feed.position < len(self.log.rows):  # noqa: ASYNC110 - nothing signals it
                await asyncio.sleep(0.01)


@asynccontextmanager
async def gateway(log: FakeLog | None = None, poll: float = NEVER, buffer: int = 4) -> AsyncIterator[Gateway]:
    """A feed that follows."""
    made = Gateway(log or FakeLog(), poll, buffer)
    await made.feed.start()
    await made.caught_up()
    await asyncio.sleep(0.1)
    try:
        yield made
    finally:
        await made.feed.stop()


async def take(rows: AsyncGenerator[LogRow, None], count: int) -> list[int]:
    """The positions of the next `count` rows."""
    return [(await anext(rows)).position for _ in range(count)]


async def silent(rows: AsyncGenerator[LogRow, None]) -> bool:
    """Whether no row comes in a minute. Ends the generator."""
    try:
        await asyncio.wait_for(anext(rows), 60)
    except TimeoutError:
        return True
    return False


def log_of(*changes: tuple[str, Status], request: str = "req_1") -> FakeLog:
    """A log with these changes."""
    log = FakeLog()
    for notification_id, status in changes:
        log.append(notification_id, status, request=request)
    return log
