"""Retention: what has had its time is removed, little by little, while everything goes on. `docs/retention.md`.

Every gateway looks each minute; a round is due each hour, and one gateway at a time is at it (`horizon.py`). A round
removes old dead letters, moves the log's horizon, removes requests with all that hangs on them (`removals.py`), and
forgets old bounces. It may be killed anywhere: what it did by then is committed, and whoever is next goes on.
"""

import asyncio
import logging
from collections import Counter
from datetime import datetime

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge

from api.database import Database
from api.gateway.feed import Follower
from api.gateway.horizon import Lost, SqlHorizon, Turn
from api.gateway.removal_round import Kept, Round
from domain.concurrency import Tasks
from domain.errors import Unavailable
from domain.metrics import HORIZON, ROWS_REMOVED

log = logging.getLogger(__name__)

POLL = 60.0
ROUND = 3600.0
"""Seconds from the end of one round until the next is due."""
SHARE = 0.25


class Retention:
    """Removes what is older than `kept` says; moves `feed.horizon` along, whichever gateway removes."""

    def __init__(
        self,
        database: Database,
        kept: Kept,
        feed: Follower | None = None,
        *,
        metrics: CollectorRegistry | None = None,
        poll: float = POLL,
        interval: float = ROUND,
        share: float = SHARE,
    ) -> None:
        """`poll` and `interval` are in seconds; `share` is the part of one connection's time that a round may take."""
        self._db, self._kept, self._feed = database, kept, feed
        self._poll, self._interval, self._share = poll, interval, share
        self._horizon = SqlHorizon(database)
        self._tasks = Tasks()
        self._removed = prometheus_client.Counter(
            ROWS_REMOVED.name, ROWS_REMOVED.help, ROWS_REMOVED.labels, registry=metrics
        )
        self._position = Gauge(HORIZON.name, HORIZON.help, registry=metrics)

    async def start(self) -> None:
        """Look from now on."""
        _ = self._tasks.supervise("retention", self._run)

    async def stop(self) -> None:
        """Stop after the transaction that is under way; the next round goes on. May be called twice."""
        await self._tasks.cancel()

    async def work_off(self, now: datetime | None = None) -> Counter[str]:
        """A round, if one is due and nobody is at it; what it removed, by table. Raises `Unavailable`.

        `now` is the moment at which ages are told; left out, it is now by the database's clock.
        """
        removed: Counter[str] = Counter()
        turn = await self._horizon.take_turn()
        if turn is not None:
            try:
                await self._round(turn, now or turn.at, removed)
            finally:
                if told := _told(removed):
                    log.info("removed what has had its time: %s", told)
        await self._look()
        return removed

    async def _run(self) -> None:
        while True:
            try:
                await self.work_off()
            except Unavailable as error:
                log.warning("removing what has had its time waits: %s", error)
            await asyncio.sleep(self._poll)

    async def _round(self, turn: Turn, now: datetime, removed: Counter[str]) -> None:
        """A turn that broke off is not given back: when its lease is over, somebody goes on."""

        def count(step: Counter[str]) -> None:
            removed.update(step)
            for table, rows in step.items():
                self._removed.labels(table).inc(rows)

        try:
            await Round(self._db, self._horizon, turn, now, count, self._share).run(self._kept)
            await self._horizon.end_turn(turn, self._interval)
        except Lost:
            log.info("another gateway goes on with the removal")

    async def _look(self) -> None:
        position = await self._horizon.position()
        self._position.set(position)
        if self._feed is not None:
            self._feed.horizon = max(self._feed.horizon, position)


def _told(removed: Counter[str]) -> str:
    return ", ".join(f"{rows} {table}" for table, rows in sorted(removed.items()) if rows)
