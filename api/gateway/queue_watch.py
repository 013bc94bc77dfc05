"""The watch over the queues: how much waits in each, for how long, and who consumes it, looked at every few seconds."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

import msgspec

from api.gateway.backlog import Waiting
from api.gateway.instances import Recent
from domain import metrics
from domain.concurrency import Tasks
from domain.errors import Unavailable
from domain.notification import Channel
from domain.ports import QueueDepth

EVERY = 2.0
DEADLINE = 2.0

T = TypeVar("T")

log = logging.getLogger(__name__)


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One queue as it was last seen. `waiting` are those that are due and not yet in it; `lag_seconds` is the age of
    the oldest of all."""

    name: str
    depth: int
    consumers: int
    waiting: int
    lag_seconds: float


class Backlog(Protocol):
    """What waits to be published; `api.gateway.backlog.SqlBacklog` is one."""

    async def of(self, channel: Channel) -> Waiting:
        """Of one channel. Raises `Unavailable`."""


class QueueWatch:
    """Looks at `queues` (the channel of each, None where it is no delivery queue) for as long as it runs.

    Of a delivery queue the lag is the database's to tell. Of any other it is estimated: it is no longer than the queue
    has not been empty, nor than it took as many messages as wait to be published. What cannot be asked stays as it was.
    """

    def __init__(
        self,
        queues: Mapping[str, Channel | None],
        depth: Callable[[str], Awaitable[QueueDepth]],
        backlog: Backlog,
        recent: Recent,
        *,
        tell: Callable[[Level], None] = lambda level: None,
        every: float = EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queues, self._depth, self._backlog, self._recent = queues, depth, backlog, recent
        self._tell, self._every, self._clock = tell, every, clock
        self._empty_at = dict.fromkeys(queues, clock())
        self.levels = {name: Level(name=name, depth=0, consumers=0, waiting=0, lag_seconds=0.0) for name in queues}
        self._tasks = Tasks()

    async def start(self) -> None:
        """Watch from now on."""
        _ = self._tasks.supervise("queue watch", self._run)

    async def stop(self) -> None:
        """Watch no more. May be called twice."""
        await self._tasks.cancel()

    async def look(self) -> None:
        """Look at every queue, once. Never raises for what is away."""
        for name, channel in self._queues.items():
            self.levels[name] = level = await self._level(self.levels[name], channel)
            self._tell(level)

    async def _run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self._every)

    async def _level(self, known: Level, channel: Channel | None) -> Level:
        depth = await self._or(QueueDepth(known.depth, known.consumers), self._depth(known.name))
        if channel is None:
            waits = Waiting(0, self._guess(known.name, depth))
        else:
            waits = await self._or(Waiting(known.waiting, known.lag_seconds), self._backlog.of(channel))
        return Level(
            name=known.name,
            depth=depth.messages,
            consumers=depth.consumers,
            waiting=waits.due,
            lag_seconds=round(waits.lag_seconds, 3),
        )

    async def _or(self, known: T, asking: Awaitable[T]) -> T:
        """The answer, or what was known where nobody answers."""
        try:
            async with asyncio.timeout(DEADLINE):
                return await asking
        except (Unavailable, TimeoutError) as error:
            log.debug("a queue cannot be looked at: %r", error)
            return known

    def _guess(self, name: str, depth: QueueDepth) -> float:
        now = self._clock()
        if not depth.messages:
            self._empty_at[name] = now
            return 0.0
        arrived = self._recent.age_of(metrics.PUBLISHED.name, depth.messages, queue=name)
        longest = now - self._empty_at[name]
        return longest if arrived is None else min(longest, arrived)
