"""Users who were deleted here and whom the other services have yet to forget.

An erasure begins in the transaction that deletes the user, so none is lost, and it is done when somebody says so.
Until then nobody new gets the id: what is theirs would be erased by mistake.
"""

from datetime import UTC, datetime

from api.database import Database, Tx
from api.records import Erasure
from api.users.rows import ERASURE_COLUMNS, to_erasure
from api.users.tables import ErasureRow
from domain.errors import Conflict, NotFound
from domain.ids import ERASURE, new_id


class Erasures:
    """The erasures in the users database. Everything raises `DatabaseUnavailable` when it is away."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def pending(self, limit: int) -> tuple[list[Erasure], int]:
        """Those not done, oldest first, up to `limit`; and how many there are."""
        rows = await self._db.query(
            f"select {ERASURE_COLUMNS}, count(*) over () as total from erasures where done_at is null"
            " order by erased_at, id limit $1",
            [limit],
        )
        return [to_erasure(row) for row in rows], rows[0]["total"] if rows else 0

    async def finish(self, id_: str) -> Erasure:
        """Everybody has forgotten the user. May be called twice. Raises `NotFound`."""
        rows = await self._db.query(
            f"update erasures set done_at = coalesce(done_at, $2) where id = $1 returning {ERASURE_COLUMNS}",
            [id_, self._db.db_time(datetime.now(UTC))],
        )
        if not rows:
            raise NotFound("erasure", id_)
        return to_erasure(rows[0])


async def begin_erasure(user_id: str) -> None:
    """Note, in the transaction that deletes the user, that they are to be forgotten everywhere."""
    row = ErasureRow(id=new_id(ERASURE), user_id=user_id, erased_at=datetime.now(UTC))
    await row.save(force_create=True)


async def refuse_while_erased(tx: Tx, user_id: str) -> None:
    """Raise `Conflict` while somebody with this id is being erased.

    Ask after the new user was inserted: the insert waits for a deletion that is under way, and this then sees it.
    """
    if await tx.query("select id from erasures where user_id = $1 and done_at is null", [user_id]):
        raise Conflict.of("id", "This user is being erased; try again in a moment.")
