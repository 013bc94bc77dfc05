"""The fan-out of the feed in one process: who wants which rows, and what each has not taken yet."""

import asyncio
from collections import defaultdict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from domain.ports import LogFilter, LogRow

_EVERYTHING = None


class Live:
    """The live end of one subscription.

    It holds at most `bound` rows; one more and it is cut off, keeps what it has, and gets nothing from then on: the
    log has the rest. So a client that is slow costs no memory, and one that stands still costs no time either.
    """

    __slots__ = ("_bound", "_cut_off", "_rows", "_waiter", "after", "since", "where")

    def __init__(self, where: LogFilter, since: int, after: int, bound: int) -> None:
        """Joined when the log was at `since`; rows up to `after` are known to the client."""
        self.where, self.since, self.after = where, since, after
        self._bound = bound
        self._rows: list[LogRow] = []
        self._waiter: asyncio.Future[None] | None = None
        self._cut_off = False

    def offer(self, row: LogRow) -> bool:
        """Take note of a row that came; the rows come in order. False: cut off, offer nothing more."""
        if row.position <= self.after or not self.where.admits(row):
            return True
        if len(self._rows) < self._bound:
            self._rows.append(row)
        else:
            self._cut_off = True
        self._wake()
        return not self._cut_off

    def cut_off(self) -> None:
        """Nothing comes any more: the log has the rest."""
        self._cut_off = True
        self._wake()

    async def take(self) -> list[LogRow]:
        """All that came since the last call, at least one row. None at all: cut off, and nothing is left."""
        if not self._rows and not self._cut_off:
            # Not an `asyncio.Event`: with ten thousand idle subscriptions its queue of waiters would be 6 MB.
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        rows, self._rows = self._rows, []
        return rows

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Audience:
    """All live subscriptions, found by what they want: those that wait for other rows cost nothing per row."""

    def __init__(self) -> None:
        self._by_key: defaultdict[Hashable, set[Live]] = defaultdict(set)

    @contextmanager
    def joined(self, live: Live) -> Iterator[Live]:
        """`live` is told about rows for as long as the context lasts, or until it is cut off."""
        self._by_key[_key(live.where)].add(live)
        try:
            yield live
        finally:
            self._leave(live)

    def tell(self, row: LogRow) -> None:
        """Offer `row` to everybody who may want it."""
        for key in _keys(row):
            cut_off = [live for live in self._by_key.get(key, ()) if not live.offer(row)]
            for live in cut_off:
                self._leave(live)

    def cut_off(self) -> None:
        """Tell everybody that what comes next is to be read from the log."""
        for live in [live for lives in self._by_key.values() for live in lives]:
            live.cut_off()
            self._leave(live)

    def __len__(self) -> int:
        return sum(map(len, self._by_key.values()))

    def _leave(self, live: Live) -> None:
        key = _key(live.where)
        lives = self._by_key.get(key)
        if lives is not None:
            lives.discard(live)
            if not lives:
                del self._by_key[key]


def _key(where: LogFilter) -> Hashable:
    """The narrowest thing that `where` asks for."""
    if where.notification_id is not None:
        return "notification", where.notification_id
    if where.request is not None:
        return "request", where.request
    if where.user_id is not None:
        return "user", where.user_id
    return _EVERYTHING


def _keys(row: LogRow) -> tuple[Hashable, ...]:
    """The keys of all who may want `row`: every one that `_key` can answer for a filter that admits it."""
    return ("notification", row.notification_id), ("request", row.request), ("user", row.user_id), _EVERYTHING
