"""How long what waits has waited: the outbox as operators see it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from api.database import Database, parse_time
from api.gateway.dialect import Dialect, dialect_of
from domain.notification import Channel, Priority, Status

COUNTED = 10_000
"""More than so many are not counted."""
_SOON = 600.0
"""Seconds ahead within which the clocks of what is published lie: it is published again before."""


class Waiting(msgspec.Struct, frozen=True):
    """What waits on one channel: how many are due and unpublished (up to `COUNTED`), and the age of the oldest that is
    due, or published and not taken by a worker, in seconds."""

    due: int
    lag_seconds: float


class SqlBacklog:
    """Reads it from the gateway database, by the dispatcher's index."""

    def __init__(self, database: Database) -> None:
        self._database = database
        sql = dialect_of(database.dialect)
        self._due, self._oldest = _due(sql), _oldest(sql)

    async def of(self, channel: Channel) -> Waiting:
        """As it is now. Raises `DatabaseUnavailable`."""
        counted = await self._database.query(self._due, [channel.value])
        oldest = await self._database.query(self._oldest, [channel.value])
        return Waiting(int(counted[0]["due"]), max(0.0, *map(_age, oldest)))


def _age(row: Mapping[str, Any]) -> float:
    if row["since"] is None:
        return 0.0
    return float((parse_time(row["now"]) - parse_time(row["since"])).total_seconds())


def _due(sql: Dialect) -> str:
    """Each priority by itself: the index then begins where it has to."""
    each = " UNION ALL ".join(
        f"SELECT id FROM (SELECT id FROM notifications WHERE channel = $1 AND priority = {priority.rank}"
        f" AND next_at <= {sql.now} LIMIT {COUNTED}) AS priority_{priority.rank}"
        for priority in Priority
    )
    return f"SELECT count(*) AS due FROM (SELECT id FROM ({each}) AS each_priority LIMIT {COUNTED}) AS counted"


def _oldest(sql: Dialect) -> str:
    """Two kinds: what is due, since then; what is published and in no worker's hands, since that was written."""
    due = " UNION ALL ".join(
        f"SELECT min(next_at) AS since FROM notifications WHERE channel = $1 AND priority = {priority.rank}"
        f" AND next_at <= {sql.now}"
        for priority in Priority
    )
    published = (
        f"SELECT min(updated_at) AS since FROM notifications WHERE channel = $1 AND next_at > {sql.now}"
        f" AND next_at <= {sql.after(str(_SOON))} AND status = '{Status.QUEUED}' AND token IS NULL"
    )
    return f"SELECT since, {sql.now} AS now FROM ({due} UNION ALL {published}) AS waits"
