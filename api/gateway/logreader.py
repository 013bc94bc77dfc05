"""Reading the status log, of which retention removes the old part.

Above the horizon the log is dense. Below it stand the entries of notifications that are still kept, and of each of
these all. So there are two kinds of readers: one of the log, who can go on from the horizon or above, and one of a
single notification or request, who is told all from its first entry for as long as it is kept itself.
"""

from collections.abc import Mapping
from typing import Any

from api.database import Database
from api.gateway.cursor import below_horizon
from api.gateway.rows import log_row_of
from domain.errors import CursorExpired
from domain.ports import LogFilter, LogRow

_GONE = "What was asked for has been removed, as its time is over."


class SqlStatusLog:
    """`domain.ports.StatusLog` on the gateway database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def head(self) -> int:
        rows = await self._database.query("SELECT position FROM status_log_head WHERE id = 1", [])
        return int(rows[0]["position"])

    async def read(self, after: int, limit: int, where: LogFilter, until: int | None = None) -> list[LogRow]:
        conditions, values = ["position > $1"], [after]
        for column, value in _conditions_of(where, until):
            values.append(value)
            conditions.append(column.format(len(values)))
        if where.status is not None:
            names = ", ".join(f"'{status}'" for status in sorted(where.status))
            conditions.append(f"status IN ({names})")
        rows = await self._database.query(_reading(" AND ".join(conditions), _kept(where, values), limit), values)
        if not rows[0]["kept"]:
            raise below_horizon(after) if _subject(where) is None else CursorExpired(_GONE)
        return [log_row_of(row) for row in rows if row["position"] is not None]


def _reading(conditions: str, kept: str, limit: int) -> str:
    """Entries, and whether any may be gone, in one statement, so that nothing is removed between the two.

    It answers one row at least: without an entry where none was found.
    """
    return f"""
        SELECT entry.*, {kept} AS kept FROM retention LEFT JOIN (
            SELECT * FROM status_log WHERE {conditions} ORDER BY position LIMIT {int(limit)}) AS entry ON true
        WHERE retention.id = 1 ORDER BY entry.position"""


def _kept(where: LogFilter, values: list[Any]) -> str:
    """SQL for "nothing of what is asked for was removed"; what it needs is added to `values`."""
    subject = _subject(where)
    if subject is None:
        return "retention.horizon <= $1"
    table, id = subject
    values.append(id)
    return f"EXISTS (SELECT 1 FROM {table} WHERE id = ${len(values)})"


def _subject(where: LogFilter) -> tuple[str, str] | None:
    """The one row that everything asked for belongs to, and goes with."""
    if where.notification_id is not None:
        return "notifications", where.notification_id
    return None if where.request is None else ("requests", where.request)


def _conditions_of(where: LogFilter, until: int | None) -> list[tuple[str, Any]]:
    candidates: Mapping[str, Any] = {
        "position <= ${}": until,
        "notification_id = ${}": where.notification_id,
        "request = ${}": where.request,
        "channel = ${}": where.channel.value if where.channel else None,
        "category = ${}": where.category,
        "user_id = ${}": where.user_id,
    }
    return [(column, value) for column, value in candidates.items() if value is not None]
