"""A status log and a bell in memory, to be interfered with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from api.gateway.cursor import below_horizon
from domain.errors import CursorExpired, DatabaseUnavailable
from domain.notification import Channel, Status
from domain.ports import LogFilter, LogRow

NOON = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)


class FakeLog:
    """A `StatusLog` on a list. While it is `away` it raises; it counts what is read.

    `prune` takes away rows as retention does, at once for whatever is read from then on.
    """

    def __init__(self) -> None:
        self.rows: list[LogRow] = []
        self.away = False
        self.reads = 0
        self.horizon = 0
        self.removed: set[str] = set()

    def prune(self, horizon: int, *removed: str) -> None:
        """Move the horizon; these notifications and requests go with all of their rows."""
        self.horizon = horizon
        self.removed.update(removed)

    def append(
        self,
        notification_id: str = "ntf_1",
        status: Status = Status.QUEUED,
        *,
        request: str = "req_1",
        channel: Channel = Channel.EMAIL,
        user_id: str | None = None,
        reason: str | None = None,
    ) -> LogRow:
        """Commit one more row."""
        earlier = [row for row in self.rows if row.notification_id == notification_id]
        row = LogRow(
            position=len(self.rows) + 1,
            sequence=len(earlier) + 1,
            notification_id=notification_id,
            request_id=f"key of {request}",
            request=request,
            client="shop",
            user_id=user_id,
            channel=channel,
            category="orders",
            status=status,
            previous_status=earlier[-1].status if earlier else None,
            reason=reason,
            attempt=None,
            provider=None,
            detail={"template": {"key": "order", "version": 3}},
            occurred_at=NOON,
            recorded_at=NOON,
            correlation_id="cor_1",
        )
        self.rows.append(row)
        return row

    async def head(self) -> int:
        """The last position."""
        await self._travel()
        return len(self.rows)

    async def read(self, after: int, limit: int, where: LogFilter, until: int | None = None) -> list[LogRow]:
        """As `StatusLog.read`. Others get their turns on the way there and on the way back."""
        self.reads += 1
        await self._travel()
        last = len(self.rows) if until is None else until
        self._refuse_what_is_gone(after, where)
        kept = [row for row in self.rows if not self.removed & {row.notification_id, row.request}]
        found = [row for row in kept if after < row.position <= last and where.admits(row)][:limit]
        await self._travel()
        return found

    def _refuse_what_is_gone(self, after: int, where: LogFilter) -> None:
        subject = where.notification_id or where.request
        if subject is None and after < self.horizon:
            raise below_horizon(after)
        if subject in self.removed:
            raise CursorExpired("What was asked for has been removed.")

    async def _travel(self) -> None:
        await asyncio.sleep(0.001)
        if self.away:
            raise DatabaseUnavailable("it is away")


class FakeBell:
    """A `Bell` that delivers exactly what it is told to."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[bytes]] = set()

    async def connect(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    def ring(self, channel: str, payload: bytes = b"") -> None:
        """To every listener, whatever the channel."""
        for queue in self._listeners:
            queue.put_nowait(payload)

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """What is rung from now on."""
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            yield _drain(queue)
        finally:
            self._listeners.discard(queue)

    @property
    def available(self) -> bool:
        """Always."""
        return True


async def _drain(queue: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
    while True:
        yield await queue.get()
