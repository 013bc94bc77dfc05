"""How the users database is written: in a transaction, and whoever remembers the users it changed is told after it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from api.changes import Tell
from api.database import Database, Tx
from domain.changes import Kind
from domain.concurrency import shielded

T = TypeVar("T")

Work = Callable[[Tx], Awaitable[tuple[T, Sequence[str]]]]
"""What to do in a transaction. Answers its result and the ids of the users that a look-up now answers differently."""


class Commits:
    """Runs work and tells of it. A caller that is cancelled stops neither: a commit is never kept secret."""

    def __init__(self, database: Database, tell: Tell) -> None:
        self._db, self._tell = database, tell

    async def run(self, work: Work[T], kinds: Sequence[Kind] = (Kind.USER,)) -> T:
        """The result of `work`, once it is committed and everybody was told. Raises what `Database.unit` raises."""
        return await shielded(self._run(work, kinds))

    async def _run(self, work: Work[T], kinds: Sequence[Kind]) -> T:
        result, changed = await self._db.unit(work)
        names = list(dict.fromkeys(changed))
        for kind in kinds:
            await self._tell(kind, names)
        return result
