"""Addresses that a mail server refused when we wanted to send: suppressed as after a hard bounce.

The block and the FAILED that tells of it are one unit of work, and only the holder of the claim is believed, as in
`track`. So a report that is redelivered, by a broker or after a relay was killed, finds the claim gone and suppresses
nothing: least of all an address whose suppression was lifted in between.
"""

from collections.abc import Sequence

from api.database import Database, Tx
from api.gateway.dialect import as_set, dialect_of
from api.gateway.rows import recipient_of
from api.gateway.suppressions import Block, SqlSuppressions
from domain.events import StatusChanged
from domain.notification import Channel
from domain.refusals import RefusedAddress, refused_addresses


class RefusedAddresses:
    """Turns what workers report into suppressions, in the unit of work that records it."""

    def __init__(self, database: Database, suppressions: SqlSuppressions) -> None:
        self._suppressions = suppressions
        claims = dialect_of(database.dialect).recordset("$1", {"id": "text", "token": "text"})
        self._held = f"""
            SELECT notifications.id, recipient FROM notifications JOIN {claims} AS item
                ON notifications.id = item.id AND notifications.token = item.token
            WHERE channel = '{Channel.EMAIL.value}'"""

    async def suppress(self, tx: Tx, changes: Sequence[StatusChanged]) -> None:
        """Block the addresses that `changes` say are refused. Call `heed` once it is committed."""
        refused = {one.notification_id: one for one in refused_addresses(changes)}
        if not refused:
            return
        claims = [{"id": one.notification_id, "token": one.token} for one in refused.values()]
        rows = await tx.query(self._held, [as_set(claims)])
        blocks = [
            Block(channel=Channel.EMAIL, contact_point=point, reason=_reason(refused[row["id"]]))
            for row in rows
            for point in recipient_of(row["recipient"]).contact_points(Channel.EMAIL)
        ]
        await self._suppressions.add_within(tx, blocks)

    def heed(self, changes: Sequence[StatusChanged]) -> None:
        """What was suppressed counts from now on for all that ask in this process."""
        if refused_addresses(changes):
            self._suppressions.heed()


def _reason(refused: RefusedAddress) -> str:
    return f"address refused ({refused.code})" if refused.code else "address refused"
