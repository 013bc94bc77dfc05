"""When API keys were last used, written down late and many at a time: never on the way of a request."""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime

from api.database import Database
from domain.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

_MAX_NOTED = 10_000
_WRITE = "UPDATE api_keys SET last_used_at = $1 WHERE id = $2 AND (last_used_at IS NULL OR last_used_at < $1)"


class KeyUses:
    """The uses that are not in the database yet."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted: dict[str, datetime] = {}

    def note(self, ids: Iterable[str]) -> None:
        """These keys are used now. Costs next to nothing."""
        now = datetime.now(UTC)
        if len(self._noted) < _MAX_NOTED:
            self._noted.update((id, now) for id in ids)

    async def write(self) -> None:
        """Write what was noted; keep it for the next time when the database is away."""
        uses, self._noted = self._noted, {}
        if not uses:
            return
        # Everybody in the same order: two processes that write at once must not wait for each other.
        rows = [(self._database.db_time(moment), id) for id, moment in sorted(uses.items())]
        try:
            await self._database.unit(lambda tx: tx.many(_WRITE, rows))
        except DatabaseUnavailable as error:
            log.info("when API keys were last used is noted later: %s", error)
            self._noted = uses | self._noted
