"""The outbox: a view on the unfinished notifications whose time has come (rule R2).

Accepted, scheduled, retried, crashed and lost deliveries are all the same case here: a row whose `next_at` has passed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from api.database import Database, Tx, parse_time
from api.gateway.dialect import Dialect, as_set, dialect_of, stamp
from api.gateway.rows import settled_of
from domain.events import LEASE_ENDED
from domain.notification import Channel, Priority, Status
from domain.ports import Due

MAX_DOUBLINGS = 5
"""The re-drive time doubles with each publication that nobody claimed, up to 32 times."""


class SqlOutbox:
    """`domain.ports.Outbox` on the gateway database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = _Statements(dialect_of(database.dialect))

    async def take_due(self, channel: Channel, limit: int, redrive: float) -> list[Due]:
        if self._database.dialect == "postgres":
            rows = await self._database.query(self._sql.take, [channel.value, limit, float(redrive)])
            return [_due_of(row) for row in rows]
        return await self._database.unit(lambda tx: self._take_in_steps(tx, channel, limit, redrive))

    async def _take_in_steps(self, tx: Tx, channel: Channel, limit: int, redrive: float) -> list[Due]:
        """For an engine that cannot return old values: look, then write, with nobody in between."""
        due = await tx.query(self._sql.look, [channel.value, limit])
        if not due:
            return []
        old = {row["id"]: row for row in due}
        written = await tx.query(self._sql.write, [as_set(old.values()), float(redrive)])
        if any(row["revoked"] for row in due):
            await tx.query(self._sql.note_revoked, [as_set(row for row in due if row["revoked"])])
        return [_due_of({**row, **old[row["id"]], "attempt": row["attempt"]}) for row in written]

    async def give_back(self, rows: Sequence[Due]) -> None:
        taken = [{"id": row.id, "written": stamp(row.written)} for row in rows]
        await self._database.query(self._sql.give_back, [as_set(taken)])

    async def expedite(self, channel: Channel, *, revoke: bool = False) -> int:
        rows = await self._database.query(self._sql.expedite(revoke), [channel.value])
        return len(rows)


def _due_of(row: Mapping[str, Any]) -> Due:
    return Due(
        id=row["id"],
        channel=Channel(row["channel"]),
        priority=Priority.of_rank(row["priority"]),
        attempt=row["attempt"],
        status=Status(row["status"]),
        revoked=bool(row["revoked"]),
        settled=settled_of(row["settled"]),
        taken_at=parse_time(row["taken_at"]),
        written=parse_time(row["next_at"]),
        correlation_id=row["correlation_id"],
        traceparent=row["traceparent"],
    )


class _Statements:
    """Taking moves the clock and revokes ended leases at once; a settled claim keeps its token, for its report."""

    def __init__(self, sql: Dialect) -> None:
        revoked = "(token IS NOT NULL AND settled IS NULL)"
        change = """
            UPDATE notifications SET
                token = CASE WHEN due.settled IS NULL THEN NULL ELSE notifications.token END,
                attempts_used = notifications.attempts_used + CASE WHEN due.revoked THEN 1 ELSE 0 END,
                uncertain = notifications.uncertain OR due.revoked,
                drives = notifications.drives + 1"""
        self.take = f"""
            WITH due AS {sql.materialized} (
                SELECT row.* FROM (VALUES (0), (1), (2)) AS rank(priority) CROSS JOIN LATERAL (
                    SELECT id, attempt, settled, {revoked} AS revoked FROM notifications
                    WHERE channel = $1 AND priority = rank.priority AND next_at <= {sql.now}
                    ORDER BY next_at LIMIT $2 {sql.skip_locked}) AS row
                LIMIT $2),
            noted AS ({self._insert_revoked(sql, "due WHERE revoked")})
            {change}, next_at = {self._moved_out(sql, "$3", "least")}
            FROM due WHERE notifications.id = due.id
            RETURNING notifications.id, notifications.attempt, due.settled, due.revoked, notifications.next_at,
                channel, priority, status, correlation_id, traceparent, {sql.now} AS taken_at"""
        self.look = f"""
            SELECT id, attempt, settled, {revoked} AS revoked FROM notifications
            WHERE channel = $1 AND next_at <= {sql.now} ORDER BY priority, next_at LIMIT $2"""
        due = sql.recordset("$1", {"id": "text", "attempt": "int", "settled": "text", "revoked": "boolean"})
        self.write = f"""
            WITH due AS {due} {change}, next_at = {self._moved_out(sql, "$2", "min")}
            FROM due WHERE notifications.id = due.id
            RETURNING id, attempt, next_at, channel, priority, status, correlation_id, traceparent,
                {sql.now} AS taken_at"""
        self.note_revoked = self._insert_revoked(sql, f"{due} AS due WHERE true")
        taken = sql.recordset("$1", {"id": "text", "written": "timestamptz"})
        self.give_back = f"""
            WITH item AS {taken}
            UPDATE notifications SET next_at = {sql.now}, drives = 0 FROM item
            WHERE notifications.id = item.id AND next_at = item.written
                AND (token IS NULL OR settled IS NOT NULL)
            RETURNING notifications.id"""
        self._sql = sql

    def expedite(self, revoke: bool) -> str:
        """What is out there and unclaimed (or, with `revoke`, claimed by a worker that is gone) is due now."""
        out = "(drives > 0 OR token IS NOT NULL)" if revoke else "drives > 0 AND token IS NULL"
        return f"""
            UPDATE notifications SET next_at = {self._sql.now}, drives = 0
            WHERE channel = $1 AND next_at > {self._sql.now} AND {out} RETURNING id"""

    @staticmethod
    def _moved_out(sql: Dialect, redrive: str, least: str) -> str:
        """The clock after a publication: `redrive` seconds, doubled with each one that nobody claimed."""
        doublings = sql.power_of_two(f"{least}(notifications.drives, {MAX_DOUBLINGS})")
        return sql.after(f"CAST({redrive} AS double precision) * {doublings}")

    @staticmethod
    def _insert_revoked(sql: Dialect, source: str) -> str:
        return f"""
            INSERT INTO attempts (notification_id, number, device_id, provider, outcome, code, detail, started_at,
                duration_ms)
            SELECT id, attempt, '', 'unknown', 'UNKNOWN', '{LEASE_ENDED}',
                'The worker stopped before it reported; the provider may have taken it.', {sql.now}, 0
            FROM {source} ON CONFLICT DO NOTHING"""
