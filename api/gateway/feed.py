"""The live feed: what subscriptions read, and the one reader of the status log that each gateway has.

The log is the truth, a ring only says "look". The follower takes rows from a ring when they go on exactly where it
stands, and from the database in every other case, so each row passes once and in order. A subscription replays the
log up to where the follower stands and listens from there on.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from itertools import pairwise
from typing import TypeVar

from api.gateway.cursor import below_horizon
from api.gateway.live import Audience, Live
from domain.channels import STATUS_CHANNEL
from domain.concurrency import Tasks, backoff
from domain.doorbell import decode
from domain.errors import CursorExpired, Unavailable
from domain.ports import Bell, LogFilter, LogRow, StatusLog

BUFFER = 256
"""Rows that a slow client may leave waiting before it has to read the log itself."""
CONCURRENT_READS = 8
"""Replays that read at the same time, so that a thousand reconnecting clients leave connections for the rest."""
_CHUNK = 100
"""Rows that are handed out before others get their turn on the event loop."""
_FIRST_RETRY, _LAST_RETRY = 0.1, 2.0

T = TypeVar("T")

log = logging.getLogger(__name__)


class Follower:
    """Follows the status log and fans it out to the subscriptions of one gateway process."""

    def __init__(
        self,
        status_log: StatusLog,
        bell: Bell,
        *,
        poll: float = 1.0,
        page: int = 500,
        buffer: int = BUFFER,
        horizon: int = 0,
    ) -> None:
        """`poll` is in seconds; `page` rows are read at once; `buffer` rows wait for a slow client at most.

        `horizon` is where the log's stood when somebody looked last, and spares reading for a cursor below it; what
        counts is what the log says with what is read. Whoever looks moves the attribute up.
        """
        self.horizon = horizon
        self._log = status_log
        self._bell = bell
        self._poll = poll
        self._page = page
        self._buffer = buffer
        self._position = 0
        self._head = 0
        self._ready = asyncio.Event()
        self._look = asyncio.Event()
        self._audience = Audience()
        self._subscriptions = 0
        self._reads = asyncio.Semaphore(CONCURRENT_READS)
        self._away = False
        self._tasks = Tasks()

    @property
    def position(self) -> int:
        """Every row up to here has been handed out; rows from before the start never are."""
        return self._position

    @property
    def lag(self) -> int:
        """How many rows are known to exist and have not been handed out."""
        return max(0, self._head - self._position)

    @property
    def live_subscriptions(self) -> int:
        """How many subscriptions are open, replaying ones included."""
        return self._subscriptions

    async def start(self) -> None:
        """Begin to follow, from the log's head. Returns at once; a database that is away is waited for."""
        _ = self._tasks.supervise("feed: follower", self._follow)
        _ = self._tasks.supervise("feed: ear", self._listen)

    async def stop(self) -> None:
        """Stop following; open subscriptions fall silent. May be called twice."""
        await self._tasks.cancel()

    async def check_cursor(self, after: int) -> None:
        """Raises `CursorExpired` when the log is known not to go on from `after`; what is read there says for certain.

        A database that is away is waited for.
        """
        if after < self.horizon:
            raise below_horizon(after)
        # Another gateway may be ahead of us: only the database knows the head.
        if after > self._position and after > await self._patiently(self._log.head):
            raise CursorExpired(f"The status log has no position {after} yet.")

    def subscribe(self, where: LogFilter, after: int | None = None) -> AsyncGenerator[LogRow, None]:
        """The rows that pass `where` after position `after`, each once, in order, without end.

        None: those that are handed out from this call on. Raises `CursorExpired` at the first step where the log does
        not go on from `after`, and at a later one where it was pruned faster than its rows were taken. While the
        database is away it is waited for. Close the generator (`aclosing`).
        """
        return self._rows(where, after, self._position if self._ready.is_set() else None)

    async def replay(self, where: LogFilter, after: int, until: int | None = None) -> AsyncGenerator[LogRow, None]:
        """The rows in the log that pass, with `after < position <= until`, in order. Close the generator.

        Raises `CursorExpired` where some may be gone.
        """
        limit = min(self._page, self._buffer)
        while until is None or after < until:
            rows = await self._patiently(partial(self._read, where, after, until, limit))
            for row in rows:
                yield row
            if len(rows) < limit:
                return
            after = rows[-1].position

    async def _rows(self, where: LogFilter, after: int | None, now: int | None) -> AsyncGenerator[LogRow, None]:
        await self._ready.wait()
        if after:  # 0 is no place that somebody was at: it is for the log to say whether it still begins there
            await self.check_cursor(after)
        position = next(place for place in (after, now, self._position) if place is not None)
        self._subscriptions += 1
        try:
            while True:  # once, and again each time that it was too slow and has been cut off
                with self._audience.joined(Live(where, self._position, position, self._buffer)) as live:
                    async with aclosing(self.replay(where, position, live.since)) as missed:
                        async for row in missed:
                            yield row
                    position = max(position, live.since)
                    while rows := await live.take():
                        for row in rows:
                            yield row
                        position = rows[-1].position
        finally:
            self._subscriptions -= 1

    async def _follow(self) -> None:
        if not self._ready.is_set():
            self._position = await self._patiently(self._log.head)
            self._ready.set()
        while True:
            await self._rung_or_poll()
            await self._catch_up()

    async def _rung_or_poll(self) -> None:
        try:
            async with asyncio.timeout(self._poll):
                await self._look.wait()
        except TimeoutError:
            pass
        self._look.clear()

    async def _catch_up(self) -> None:
        while True:
            read = partial(self._log.read, self._position, self._page, LogFilter())
            try:
                rows = await self._patiently(read)
            except CursorExpired:
                await self._jump()
                continue
            await self._hand_out(rows)
            if len(rows) < self._page:
                self._head = self._position
                return

    async def _jump(self) -> None:
        """It stood still for so long that the log was pruned: whoever listens reads on from there, or is told so."""
        head = await self._patiently(self._log.head)
        self._position = max(self._position, head)
        self._audience.cut_off()

    async def _listen(self) -> None:
        async with self._bell.listen(STATUS_CHANNEL) as rings:
            async for payload in rings:
                await self._hear(payload)

    async def _hear(self, payload: bytes) -> None:
        ring = decode(payload)
        if self._ready.is_set() and _goes_on_from(self._position, ring.rows):
            await self._hand_out(ring.rows)
        self._head = max(self._head, ring.head or 0)
        if not self._ready.is_set() or ring.head is None or ring.head > self._position:
            self._look.set()

    async def _hand_out(self, rows: Sequence[LogRow]) -> None:
        """Rows from the log or from a ring, whichever comes first: what has passed already is passed over."""
        for start in range(0, len(rows), _CHUNK):
            if start:
                await asyncio.sleep(0)
            for row in rows[start : start + _CHUNK]:
                if row.position > self._position:
                    self._position = row.position
                    self._audience.tell(row)

    async def _read(self, where: LogFilter, after: int, until: int | None, limit: int) -> list[LogRow]:
        async with self._reads:
            return await self._log.read(after, limit, where, until)

    async def _patiently(self, read: Callable[[], Awaitable[T]]) -> T:
        """What `read` answers, once the database is there."""
        async for _ in backoff(_FIRST_RETRY, _LAST_RETRY):
            try:
                answer = await read()
            except Unavailable as error:
                self._note_away(error)
            else:
                self._away = False
                return answer
        raise AssertionError("backoff never ends")

    def _note_away(self, error: Unavailable) -> None:
        if not self._away:
            log.warning("the status log cannot be read, trying again: %s", error)
        self._away = True


def _goes_on_from(position: int, rows: Sequence[LogRow]) -> bool:
    """Whether `rows` have no hole, neither among themselves nor towards `position`."""
    if not rows or rows[0].position > position + 1:
        return False
    return all(row.position + 1 == following.position for row, following in pairwise(rows))
