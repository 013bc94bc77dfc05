"""The horizon of the status log, and whose turn it is to move it: what retention writes down about itself.

Whose turn it is is a lease in a row, by the database's clock, renewed by each transaction of its holder. An advisory
lock of a session would need a connection of its own for hours, and a pooler between us and PostgreSQL takes it away
silently; one of a transaction ends with each batch, and two gateways would take turns at double the pace. The lease
works on both engines, outlives no holder by more than a minute, and stops a holder that was frozen and comes back.
"""

from datetime import datetime
from functools import partial

import msgspec

from api.database import Database, Tx, parse_time
from api.gateway.dialect import dialect_of
from domain.ids import CLAIM, new_id

LEASE = 60
"""Seconds without a batch until another gateway goes on."""


class Lost(Exception):
    """Another gateway removes now."""


class Turn(msgspec.Struct, frozen=True):
    """The right to remove, of whoever holds `token`; it was taken at `at` by the database's clock."""

    token: str
    at: datetime


class SqlHorizon:
    """The one row that says up to where the log is pruned and who prunes it."""

    def __init__(self, database: Database) -> None:
        self._db = database
        sql = dialect_of(database.dialect)
        self._take = f"""
            UPDATE retention SET token = $1, due_at = {sql.after(str(LEASE))}
            WHERE id IN (SELECT id FROM retention WHERE id = 1 AND due_at <= {sql.now} {sql.skip_locked})
            RETURNING {sql.now} AS now"""
        self._renew = f"""
            UPDATE retention SET due_at = {sql.after(str(LEASE))} WHERE id = 1 AND token = $1 RETURNING horizon"""
        self._give_back = "UPDATE retention SET token = NULL, due_at = {} WHERE id = 1 AND token = $1"
        self._after = sql.after

    async def position(self) -> int:
        """Above it the log is dense. It only grows."""
        return int((await self._db.query("SELECT horizon FROM retention WHERE id = 1"))[0]["horizon"])

    async def take_turn(self) -> Turn | None:
        """The right to remove, if a round is due and nobody is at it."""
        token = new_id(CLAIM)
        rows = await self._db.query(self._take, [token])
        return Turn(token, parse_time(rows[0]["now"])) if rows else None

    async def renew(self, tx: Tx, turn: Turn) -> int:
        """Go on for another minute, and keep everybody else out until `tx` ends; the horizon. Raises `Lost`."""
        rows = await tx.query(self._renew, [turn.token])
        if not rows:
            raise Lost
        return int(rows[0]["horizon"])

    async def end_turn(self, turn: Turn, seconds: float) -> None:
        """The round is over; the next one is due in so many seconds. May be called twice, and when it was lost."""
        await self._db.query(self._give_back.format(self._after(str(float(seconds)))), [turn.token])

    async def advance(self, turn: Turn, before: datetime) -> int:
        """Move the horizon up to the last entry recorded before that time; where it stands then. Raises `Lost`.

        No entry is touched. Times in the log follow the positions but for the length of a transaction, so an entry
        of that moment may come to stand on either side; whoever removes goes by the horizon.
        """
        low = await self.position()
        high = int((await self._db.query("SELECT position FROM status_log_head WHERE id = 1"))[0]["position"])
        while low < high:
            middle = (low + high + 1) // 2
            if await self._recorded_at(middle) < before:
                low = middle
            else:
                high = middle - 1
        return await self._db.unit(partial(self._move, turn=turn, position=low))

    async def _recorded_at(self, position: int) -> datetime:
        rows = await self._db.query("SELECT recorded_at FROM status_log WHERE position = $1", [position])
        if not rows:
            raise Lost
        return parse_time(rows[0]["recorded_at"])

    async def _move(self, tx: Tx, turn: Turn, position: int) -> int:
        before = await self.renew(tx, turn)
        if before < position:
            await tx.query("UPDATE retention SET horizon = $1 WHERE id = 1", [position])
        return max(before, position)
