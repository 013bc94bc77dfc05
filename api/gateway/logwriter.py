"""Appending to the status log, for both its writers: accepting and recording.

Positions come from ONE counter row, taken last of all locks and held to the commit, so they are dense and their order
is the order of the commits. A database sequence would leave holes.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from api.database import Tx
from api.gateway.dialect import Dialect, as_set, stamp
from api.gateway.rows import to_text
from domain.ports import LogRow

_LOG_COLUMNS = {
    "position": "bigint",
    "sequence": "int",
    "notification_id": "text",
    "request_id": "text",
    "request": "text",
    "client": "text",
    "user_id": "text",
    "channel": "text",
    "category": "text",
    "status": "text",
    "previous_status": "text",
    "reason": "text",
    "attempt": "int",
    "provider": "text",
    "detail": "text",
    "occurred_at": "timestamptz",
    "recorded_at": "timestamptz",
    "correlation_id": "text",
}


class LogWriter:
    """Writes the next positions of the log. Call it last in a transaction."""

    def __init__(self, sql: Dialect) -> None:
        columns = ", ".join(_LOG_COLUMNS)
        others = ", ".join(f"item.{name}" for name in _LOG_COLUMNS if name != "position")
        rows = sql.recordset("$1", _LOG_COLUMNS)
        self._advance = "UPDATE status_log_head SET position = position + $1 WHERE id = 1 RETURNING position"
        self._insert = f"""
            INSERT INTO status_log ({columns}) SELECT $2 + item.position, {others} FROM {rows} AS item"""
        self._append = f"""
            WITH head AS ({self._advance.replace("$1", "$2")}),
            written AS (
                INSERT INTO status_log ({columns}) SELECT head.position - $2 + item.position, {others}
                FROM {rows} AS item CROSS JOIN head)
            SELECT position FROM head"""
        self._at_once = sql.writable_cte

    async def append(self, tx: Tx, rows: Sequence[LogRow]) -> list[LogRow]:
        """Take as many positions as there are rows and write these; `rows` count from 1, the answer from the head.

        Where the engine can, both are one statement: the counter is everybody's, and is not held across a round trip.
        """
        columns = as_set(_columns_of(row) for row in rows)
        if self._at_once:
            head = (await tx.query(self._append, [columns, len(rows)]))[0]["position"]
        else:
            head = (await tx.query(self._advance, [len(rows)]))[0]["position"]
            await tx.query(self._insert, [columns, head - len(rows)])
        return placed(rows, head - len(rows))


def placed(rows: Sequence[LogRow], before: int) -> list[LogRow]:
    """The rows, which count from 1, at their positions after `before`."""
    return [msgspec.structs.replace(row, position=before + row.position) for row in rows]


def _columns_of(row: LogRow) -> dict[str, Any]:
    columns = msgspec.structs.asdict(row)
    columns["detail"] = to_text(row.detail)
    columns["occurred_at"], columns["recorded_at"] = stamp(row.occurred_at), stamp(row.recorded_at)
    return columns
