"""The writing side of the status log: `record`, the one door through which a status changes (rule R6).

What it writes is read by `logreader.py`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from api.database import Database, Tx, parse_time
from api.gateway.dialect import Dialect, as_set, dialect_of, stamp
from api.gateway.logwriter import LogWriter
from api.gateway.refused_addresses import RefusedAddresses
from api.gateway.retirement import SqlRefusals
from api.gateway.rows import PROGRESS_COLUMNS, progress_of, to_text
from api.gateway.units import again
from domain.events import MAX_CHANGES, Attempt, StatusChanged
from domain.ids import DEAD_LETTER, new_id
from domain.notification import Channel, Progress, Status
from domain.ports import DeadMessage, LogRow, Recorded
from domain.refusals import refused_for_good
from domain.track import Entry, Tracked, track_all


class SqlStatusStore:
    """`domain.ports.StatusStore` on the gateway database.

    `addresses` suppresses those that are refused; whoever records what workers report needs it.
    """

    def __init__(self, database: Database, addresses: RefusedAddresses | None = None) -> None:
        self._database = database
        self._sql = _Statements(dialect_of(database.dialect))
        self._log = LogWriter(dialect_of(database.dialect))
        self._refusals = SqlRefusals(database)
        self._addresses = addresses

    async def record(self, changes: Sequence[StatusChanged]) -> Recorded:
        recorded = Recorded([], [])
        for start in range(0, len(changes), 2 * MAX_CHANGES):
            part = changes[start : start + 2 * MAX_CHANGES]
            done = await again(partial(self._database.unit, partial(self._record, changes=part)))
            if self._addresses is not None:
                self._addresses.heed(part)
            recorded.rows.extend(done.rows)
            recorded.ignored.extend(done.ignored)
            recorded.traces.update(done.traces)
        return recorded

    async def record_within(self, tx: Tx, changes: Sequence[StatusChanged]) -> Recorded:
        """`record`, in a unit of work under way: one that locks no rows of notifications after this."""
        return await self._record(tx, changes)

    async def record_dead_letter(self, letter: DeadMessage) -> None:
        row = {
            "id": new_id(DEAD_LETTER),
            "source": f"message:{letter.message_id}",
            "queue": letter.queue,
            "reason": letter.reason,
            "attempts": 0,
            "payload": to_text(letter.body.decode("utf-8", "replace").replace("\0", "\ufffd")),
        }
        await self._database.query(self._sql.insert_dead_letters, [as_set([row])])

    async def _record(self, tx: Tx, changes: Sequence[StatusChanged]) -> Recorded:
        """Lock the rows in id order, decide, write them; then the counter, last of all, and the log.

        Suppressions come before the rows, as they do for callbacks: all who take both take them in one order.
        """
        if self._addresses is not None:
            await self._addresses.suppress(tx, changes)
        ids = sorted({change.notification_id for change in changes})
        found = await tx.query(self._sql.lock_rows, [as_set({"id": id} for id in ids)])
        now = parse_time(found[0]["now"]) if found else datetime.now(UTC)
        rows = {row["id"]: row for row in found}
        tracked = track_all({id: progress_of(row) for id, row in rows.items()}, changes, now)
        await self._write_rows(tx, tracked, now)
        known = [change for change in changes if change.notification_id in rows]
        await self._write_attempts(tx, [change for change in known if change.attempts])
        await self._refusals.note(tx, refused_for_good(known))
        await self._write_dead_letters(tx, tracked, rows)
        written = await self._append(tx, tracked.entries, rows, now)
        traces = {row["id"]: row["traceparent"] for row in found if row["traceparent"] is not None}
        return Recorded(written, [(one.change, one.why) for one in tracked.ignored], traces)

    async def _write_rows(self, tx: Tx, tracked: Tracked, now: datetime) -> None:
        if not tracked.rows:
            return
        moved = {entry.change.notification_id for entry in tracked.entries if _restarts_clock(entry)}
        rows = [_columns_of(row, moved, now) for row in tracked.rows.values()]
        await tx.query(self._sql.write_rows, [as_set(rows)])

    async def _write_attempts(self, tx: Tx, changes: Sequence[StatusChanged]) -> None:
        rows = {
            (change.notification_id, attempt.number, attempt.device_id, attempt.provider): _attempt_columns(
                change, attempt
            )
            for change in changes
            for attempt in change.attempts
        }
        if rows:
            await tx.query(self._sql.upsert_attempts, [as_set(rows.values())])

    async def _write_dead_letters(self, tx: Tx, tracked: Tracked, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """FAILED and its dead letter are one transaction; a replay marks the letter."""
        failed = [entry for entry in tracked.entries if entry.status is Status.FAILED]
        if failed:
            letters = [_letter_columns(entry, rows[entry.change.notification_id]) for entry in failed]
            await tx.query(self._sql.insert_dead_letters, [as_set(letters)])
        replayed = [{"id": entry.change.notification_id} for entry in tracked.entries if entry.change.replay]
        if replayed:
            await tx.query(self._sql.mark_replayed, [as_set(replayed)])

    async def _append(
        self, tx: Tx, entries: Sequence[Entry], rows: Mapping[str, Mapping[str, Any]], now: datetime
    ) -> list[LogRow]:
        if not entries:
            return []
        placed = [
            _log_row(entry, rows[entry.change.notification_id], place, now) for place, entry in enumerate(entries, 1)
        ]
        return await self._log.append(tx, placed)


def _restarts_clock(entry: Entry) -> bool:
    return entry.change.replay or entry.status not in (Status.QUEUED, Status.SENDING)


def _columns_of(row: Progress, moved: set[str], now: datetime) -> dict[str, Any]:
    return {
        "id": row.id,
        "status": row.status,
        "reason": row.reason,
        "sequence": row.sequence,
        "attempts_used": row.attempts_used,
        "next_at": stamp(row.next_at),
        "token": row.token,
        "keep_settled": row.settled,
        "restarted": row.id in moved,
        "uncertain": row.uncertain,
        "possible_duplicate": row.possible_duplicate,
        "refused_devices": to_text(sorted(row.refused_devices) or None),
        "provider": row.provider,
        "provider_message_id": row.provider_message_id,
        "updated_at": stamp(now),
    }


def _attempt_columns(change: StatusChanged, attempt: Attempt) -> dict[str, Any]:
    return {
        "notification_id": change.notification_id,
        "number": attempt.number,
        "device_id": attempt.device_id or "",
        "provider": attempt.provider,
        "outcome": attempt.outcome,
        "code": attempt.code,
        "detail": attempt.detail,
        "started_at": stamp(attempt.started_at),
        "duration_ms": attempt.duration_ms,
        "retry_at": stamp(attempt.retry_at),
    }


def _letter_columns(entry: Entry, row: Mapping[str, Any]) -> dict[str, Any]:
    change = entry.change
    return {
        "id": new_id(DEAD_LETTER),
        "source": f"{change.notification_id}:{change.attempt}",
        "notification_id": change.notification_id,
        "channel": row["channel"],
        "queue": f"{row['channel'].lower()}.queue",
        "reason": change.reason or "given up",
        "attempts": row["attempts_used"] + change.uses_attempt,
        "payload": to_text({"id": change.notification_id, "attempt": change.attempt, "detail": change.detail}),
    }


def _log_row(entry: Entry, row: Mapping[str, Any], position: int, now: datetime) -> LogRow:
    change = entry.change
    implied = entry.status is not change.status
    return LogRow(
        position=position,
        sequence=entry.sequence,
        notification_id=change.notification_id,
        request_id=row["request_id"],
        request=row["request"],
        client=row["client"],
        user_id=row["user_id"],
        channel=Channel(row["channel"]),
        category=row["category"],
        status=entry.status,
        previous_status=entry.previous_status,
        reason=None if implied else change.reason,
        attempt=change.attempt,
        provider=None if implied else change.provider,
        detail=None if implied else (change.detail or None),
        occurred_at=change.occurred_at,
        recorded_at=now,
        correlation_id=row["correlation_id"],
    )


_ROW_COLUMNS = {
    "id": "text",
    "status": "text",
    "reason": "text",
    "sequence": "int",
    "attempts_used": "int",
    "next_at": "timestamptz",
    "token": "text",
    "keep_settled": "boolean",
    "restarted": "boolean",
    "uncertain": "boolean",
    "possible_duplicate": "boolean",
    "refused_devices": "text",
    "provider": "text",
    "provider_message_id": "text",
    "updated_at": "timestamptz",
}
_ATTEMPT_COLUMNS = {
    "notification_id": "text",
    "number": "int",
    "device_id": "text",
    "provider": "text",
    "outcome": "text",
    "code": "text",
    "detail": "text",
    "started_at": "timestamptz",
    "duration_ms": "int",
    "retry_at": "timestamptz",
}
_LETTER_COLUMNS = {
    "id": "text",
    "source": "text",
    "notification_id": "text",
    "channel": "text",
    "queue": "text",
    "reason": "text",
    "attempts": "int",
    "payload": "text",
}


class _Statements:
    """Each takes one set."""

    def __init__(self, sql: Dialect) -> None:
        ids = sql.recordset("$1", {"id": "text"})
        self.lock_rows = f"""
            SELECT {PROGRESS_COLUMNS}, request, request_id, client, user_id, channel, category, correlation_id,
                traceparent, {sql.now} AS now
            FROM notifications WHERE id IN (SELECT id FROM {ids} AS item) ORDER BY id {sql.for_update}"""
        written = [name for name in _ROW_COLUMNS if name not in ("id", "keep_settled", "restarted")]
        self.write_rows = f"""
            WITH item AS {sql.recordset("$1", _ROW_COLUMNS)}
            UPDATE notifications SET {", ".join(f"{name} = item.{name}" for name in written)},
                settled = CASE WHEN item.keep_settled THEN notifications.settled ELSE NULL END,
                drives = CASE WHEN item.restarted THEN 0 ELSE notifications.drives END
            FROM item WHERE notifications.id = item.id RETURNING notifications.id"""
        attempts = ", ".join(_ATTEMPT_COLUMNS)
        learned = ("outcome", "code", "detail", "duration_ms", "retry_at")
        self.upsert_attempts = f"""
            INSERT INTO attempts ({attempts}) SELECT {attempts}
            FROM {sql.recordset("$1", _ATTEMPT_COLUMNS)} AS item WHERE true
            ON CONFLICT (notification_id, number, device_id, provider)
            DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in learned)}"""
        letters = ", ".join(_LETTER_COLUMNS)
        self.insert_dead_letters = f"""
            INSERT INTO dead_letters ({letters}, first_failed_at, dead_lettered_at)
            SELECT {", ".join(f"item.{name}" for name in _LETTER_COLUMNS)}, coalesce(
                (SELECT min(started_at) FROM attempts WHERE attempts.notification_id = item.notification_id),
                {sql.now}), {sql.now}
            FROM {sql.recordset("$1", _LETTER_COLUMNS)} AS item WHERE true ON CONFLICT (source) DO NOTHING"""
        self.mark_replayed = f"""
            UPDATE dead_letters SET replayed_at = {sql.now}
            WHERE replayed_at IS NULL AND notification_id IN (SELECT id FROM {ids} AS item)"""
