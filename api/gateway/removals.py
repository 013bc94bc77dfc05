"""Removing what has had its time, a small part in each transaction.

A request and its notifications go together, once all of them may go; so its total, its counts and its part of the log
are right for as long as it is there. Of a large one, the request goes first and leaves a row in `removals`, from which
whoever is next goes on; a small one is gone in one transaction.

Nothing here waits for a lock on a row of a request, notification or dead letter: what others hold is left for another
time. So there is no circle with `record`, which locks notifications in order and the log's counter last; the counter is
never touched. Every statement finds its rows by an index: ids begin with the time, so the oldest stand first.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import msgspec

from api.database import Database, Tx, among, listed
from api.gateway.dialect import dialect_of
from domain.ids import DEAD_LETTER, REQUEST, first_id
from domain.notification import FINAL

REQUESTS_AT_ONCE = 25
NOTIFICATIONS_AT_ONCE = 100
ROWS_AT_ONCE = 400
"""What hangs on the notifications that one transaction removes. With their requests it writes 500 rows at most; a
single notification is removed whole, however much hangs on it."""
OTHERS_AT_ONCE = 100
_PARTS = ("attempts", "callbacks", "status_log")


class Expiry(msgspec.Struct, frozen=True):
    """What may go: what last changed before `before` and whose entries stand at `horizon` or below."""

    before: datetime
    horizon: int


class Step(msgspec.Struct, frozen=True):
    """What one transaction came to. `after`: where the next one goes on; None: that was all.

    `open`: requests of which there may be notifications left.
    """

    removed: Counter[str]
    after: str | None
    open: tuple[str, ...] = ()


class SqlRemovals:
    """Each method is part of a transaction, and may be called again after one that failed."""

    def __init__(self, database: Database) -> None:
        self._db = database
        sql, final = dialect_of(database.dialect), ", ".join(f"'{status}'" for status in sorted(FINAL))
        # Subqueries for one value: an EXISTS may be planned as one look at the whole other table, for all rows at once.
        removable = f"""
            notification.next_at IS NULL AND notification.status IN ({final}) AND notification.updated_at < $2
            AND (SELECT id FROM dead_letters WHERE notification_id = notification.id LIMIT 1) IS NULL
            AND coalesce((SELECT position FROM status_log WHERE notification_id = notification.id
                AND sequence = notification.sequence), 0) <= $3"""
        self._requests = f"""
            WITH page AS {sql.materialized} (
                SELECT id, created_at FROM requests WHERE id > $1 AND id < $4 ORDER BY id LIMIT {REQUESTS_AT_ONCE})
            SELECT id, created_at < $2 AND (
                SELECT id FROM notifications AS notification WHERE notification.request = request.id
                AND NOT ({removable}) LIMIT 1) IS NULL AS expired
            FROM page AS request ORDER BY id"""
        self._lock_requests = f"SELECT id FROM requests WHERE {self._among('id')} {sql.skip_locked}"
        self._note = f"INSERT INTO removals (request) SELECT id FROM requests WHERE {self._among('id')}"
        self._notifications = f"""
            SELECT id, 1 + sequence
                + (SELECT count(*) FROM attempts WHERE attempts.notification_id = notification.id)
                + (SELECT count(*) FROM callbacks WHERE callbacks.notification_id = notification.id) AS weight
            FROM notifications AS notification WHERE {self._among("request")} AND {removable}
            LIMIT {NOTIFICATIONS_AT_ONCE} {sql.skip_locked}"""
        self._letters = f"""
            SELECT id FROM dead_letters WHERE id < $2 AND dead_lettered_at < $1
            ORDER BY id LIMIT {OTHERS_AT_ONCE} {sql.skip_locked}"""
        self._soft_bounces = f"""
            SELECT contact_key FROM soft_bounces WHERE last_at < $1
            ORDER BY last_at LIMIT {OTHERS_AT_ONCE} {sql.skip_locked}"""

    async def begun(self, tx: Tx, after: str) -> list[str]:
        """Requests that are gone and of which notifications may be left, from behind `after` on; none: that is all."""
        text = f"SELECT request FROM removals WHERE request > $1 ORDER BY request LIMIT {REQUESTS_AT_ONCE}"
        return [row["request"] for row in await tx.query(text, [after])]

    async def requests(self, tx: Tx, expiry: Expiry, after: str) -> Step:
        """Look at the next requests behind `after`; those that are over go, with their notifications as far as fits."""
        seen = await tx.query(
            self._requests,
            [after, self._db.db_time(expiry.before), expiry.horizon, first_id(REQUEST, expiry.before)],
        )
        gone = await self._remove_requests(tx, [row["id"] for row in seen if row["expired"]])
        further = seen[-1]["id"] if seen else None
        if not gone:
            return Step(Counter(), further)
        rest = await self.notifications(tx, expiry, gone)
        return Step(rest.removed + Counter(requests=len(gone)), further, rest.open)

    async def notifications(self, tx: Tx, expiry: Expiry, requests: Sequence[str]) -> Step:
        """Remove what fits of the notifications of these requests, which are gone themselves."""
        found = await tx.query(
            self._notifications, [self._listed(requests), self._db.db_time(expiry.before), expiry.horizon]
        )
        chosen = _that_fit([(row["id"], row["weight"]) for row in found])
        removed: Counter[str] = Counter()
        for table in _PARTS:
            removed[table] = await self._delete(tx, table, "notification_id", chosen)
        removed["notifications"] = await self._delete(tx, "notifications", "id", chosen)
        all_of_them = len(chosen) == len(found) < NOTIFICATIONS_AT_ONCE
        await self._close(tx, requests)
        return Step(removed, None, () if all_of_them else tuple(requests))

    async def dead_letters(self, tx: Tx, before: datetime) -> int:
        """Remove the oldest of before that time; how many, 0: there are none, or others hold them."""
        found = await tx.query(self._letters, [self._db.db_time(before), first_id(DEAD_LETTER, before)])
        return await self._delete(tx, "dead_letters", "id", [row["id"] for row in found])

    async def soft_bounces(self, tx: Tx, before: datetime) -> int:
        """Forget rows of bounces of which the last was before that time; likewise."""
        found = await tx.query(self._soft_bounces, [self._db.db_time(before)])
        return await self._delete(tx, "soft_bounces", "contact_key", [row["contact_key"] for row in found])

    async def _remove_requests(self, tx: Tx, ids: Sequence[str]) -> list[str]:
        if not ids:
            return []
        locked = [row["id"] for row in await tx.query(self._lock_requests, [self._listed(ids)])]
        await tx.query(self._note, [self._listed(locked)])
        await self._delete(tx, "requests", "id", locked)
        return locked

    async def _close(self, tx: Tx, requests: Sequence[str]) -> None:
        """Forget those of which nothing is left."""
        left = "SELECT 1 FROM notifications WHERE notifications.request = removals.request"
        text = f"DELETE FROM removals WHERE {self._among('request')} AND NOT EXISTS ({left})"
        await tx.query(text, [self._listed(requests)])

    async def _delete(self, tx: Tx, table: str, column: str, ids: Sequence[str]) -> int:
        if not ids:
            return 0
        text = f"DELETE FROM {table} WHERE {self._among(column)} RETURNING {column}"
        return len(await tx.query(text, [self._listed(ids)]))

    def _among(self, column: str) -> str:
        return among(self._db.dialect, column, "$1")

    def _listed(self, ids: Sequence[str]) -> list[str] | str:
        return listed(self._db.dialect, ids)


def _that_fit(weighed: Sequence[tuple[str, int]]) -> list[str]:
    """The first of them, until their weights come to `ROWS_AT_ONCE`; at least one."""
    chosen: list[str] = []
    sum_ = 0
    for id, weight in weighed:
        sum_ += weight
        if chosen and sum_ > ROWS_AT_ONCE:
            break
        chosen.append(id)
    return chosen
