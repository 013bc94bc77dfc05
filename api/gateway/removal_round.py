"""One round of removal: every transaction under the turn, with a pause after each, so that others have the database."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import msgspec

from api.database import Database, Tx
from api.gateway.bounces import WITHIN
from api.gateway.horizon import SqlHorizon, Turn
from api.gateway.removals import Expiry, SqlRemovals, Step
from api.gateway.units import again

T = TypeVar("T")

LONGEST_PAUSE = 10.0
"""Seconds; the turn is a lease, and must not end in a pause."""


class Kept(msgspec.Struct, frozen=True):
    """For how long things are kept. None: for ever."""

    notifications: timedelta | None
    dead_letters: timedelta | None

    @classmethod
    def of_days(cls, notifications: int, dead_letters: int) -> "Kept":
        """0 days are for ever."""
        return cls(*(timedelta(days=days) if days else None for days in (notifications, dead_letters)))


class Round:
    """Removes what is too old at `now`. `count` is told what each transaction removed, by table."""

    def __init__(
        self,
        database: Database,
        horizon: SqlHorizon,
        turn: Turn,
        now: datetime,
        count: Callable[[Counter[str]], None],
        share: float,
    ) -> None:
        """`share`: the part of one connection's time that it takes at most."""
        self._db, self._horizon, self._turn, self._now = database, horizon, turn, now
        self._count, self._share = count, share
        self._removals = SqlRemovals(database)

    async def run(self, kept: Kept) -> None:
        """To its end. Raises `Lost`, `Unavailable`; what was removed by then is."""
        if kept.dead_letters is not None:  # first: a letter keeps its notification
            await self._all_of("dead_letters", self._removals.dead_letters, self._now - kept.dead_letters)
        if kept.notifications is not None:
            before = self._now - kept.notifications
            expiry = Expiry(before, await self._horizon.advance(self._turn, before))
            await self._resume(expiry)
            await self._requests(expiry)
            await self._all_of("soft_bounces", self._removals.soft_bounces, min(before, self._now - WITHIN))

    async def _resume(self, expiry: Expiry) -> None:
        """What rounds before this one have begun."""
        after = ""
        while begun := await self._batch(partial(self._removals.begun, after=after)):
            await self._notifications(expiry, begun)
            after = begun[-1]

    async def _requests(self, expiry: Expiry) -> None:
        after: str | None = ""
        while after is not None:
            step = await self._batch(partial(self._removals.requests, expiry=expiry, after=after))
            self._count(step.removed)
            await self._notifications(expiry, step.open)
            after = step.after

    async def _notifications(self, expiry: Expiry, requests: Sequence[str]) -> None:
        while requests:
            step: Step = await self._batch(partial(self._removals.notifications, expiry=expiry, requests=requests))
            self._count(step.removed)
            requests = step.open

    async def _all_of(self, table: str, remove: Callable[[Tx, datetime], Awaitable[int]], before: datetime) -> None:
        while removed := await self._batch(lambda tx: remove(tx, before)):
            self._count(Counter({table: removed}))

    async def _batch(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        async def unit(tx: Tx) -> T:
            await self._horizon.renew(tx, self._turn)
            return await work(tx)

        begun = time.monotonic()
        done = await again(partial(self._db.unit, unit))
        taken = time.monotonic() - begun
        await asyncio.sleep(min(LONGEST_PAUSE, taken * (1 / self._share - 1)))
        return done
