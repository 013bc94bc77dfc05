"""Appending to the status log, for both its writers: accepting and recording.

Positions come from ONE counter row, taken last of all locks and held to the commit, so they are dense and their order
is the order of the commits. A database sequence would leave holes.
"""

from collections.abc import Callable
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
        self._insert = f"""
            INSERT INTO status_log ({columns}) SELECT {columns} FROM {sql.recordset("$1", _LOG_COLUMNS)} AS item"""
        self._advance = "UPDATE status_log_head SET position = position + $1 WHERE id = 1 RETURNING position"

    async def append(self, tx: Tx, rows_from: Callable[[int], list[LogRow]], count: int) -> list[LogRow]:
        """Take `count` positions, let `rows_from(first)` make the rows, and write them."""
        head = (await tx.query(self._advance, [count]))[0]["position"]
        rows = rows_from(head - count + 1)
        await tx.query(self._insert, [as_set(_columns_of(row) for row in rows)])
        return rows


def _columns_of(row: LogRow) -> dict[str, Any]:
    columns = msgspec.structs.asdict(row)
    columns["detail"] = to_text(row.detail)
    columns["occurred_at"], columns["recorded_at"] = stamp(row.occurred_at), stamp(row.recorded_at)
    return columns
