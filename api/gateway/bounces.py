"""Mail that comes back for now: once is an accident, several times in a row is a contact point to leave alone.

Counted by contact point, under the keys that suppressions are found by, so nothing here names anybody.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from api.database import Tx, among, listed
from api.gateway.dialect import Dialect, as_set, dialect_of, stamp
from api.gateway.suppressions import BOUNCED_OFTEN
from domain.notification import Channel

BOUNCES_IN_A_ROW = 3
WITHIN = timedelta(days=7)
"""How far a bounce may be from the one before to count as in a row with it."""


class Contact(msgspec.Struct, frozen=True, order=True):
    """A contact point, with the key that it is found by."""

    key: str
    channel: Channel
    point: str


class SoftBounces:
    """The counts. Every call is part of a unit of work under way."""

    def __init__(self, dialect: str) -> None:
        self._sql = _Statements(dialect_of(dialect))

    async def count(self, tx: Tx, bounces: Sequence[tuple[Contact, datetime]]) -> list[Contact]:
        """Count these; those contact points that this was one too many for. They are counted anew from here on."""
        contacts = {contact.key: contact for contact, _ in bounces}
        if not contacts:
            return []
        rows = await tx.query(self._sql.count, [as_set(_tallies(bounces))])
        over = [row["contact_key"] for row in rows if row["count"] >= BOUNCES_IN_A_ROW]
        if over:
            chosen = among(tx.dialect, "contact_key", "$1")
            await tx.query(f"UPDATE soft_bounces SET count = 0 WHERE {chosen}", [listed(tx.dialect, over)])
        return [contacts[key] for key in over]

    async def forgive(self, tx: Tx, deliveries: Mapping[Contact, datetime]) -> None:
        """These were delivered to: what came back before is forgotten, and a block for it is lifted."""
        rows = [{"contact_key": one.key, "at": stamp(at)} for one, at in sorted(deliveries.items())]
        gone = [row["contact_key"] for row in await tx.query(self._sql.forget, [as_set(rows)])] if rows else []
        if gone:
            chosen = among(tx.dialect, "contact_key", "$1")
            await tx.query(
                f"DELETE FROM suppressions WHERE {chosen} AND reason = $2", [listed(tx.dialect, gone), BOUNCED_OFTEN]
            )


def _tallies(bounces: Sequence[tuple[Contact, datetime]]) -> list[dict[str, Any]]:
    """One row a contact point, in the order of their keys: how many came back, and when the first and the last did."""
    times: dict[str, list[datetime]] = {}
    for contact, at in bounces:
        times.setdefault(contact.key, []).append(at)
    return [
        {
            "contact_key": key,
            "count": len(at),
            "last_at": stamp(max(at)),
            "since": stamp(min(at) - WITHIN),
        }
        for key, at in sorted(times.items())
    ]


class _Statements:
    """Each takes one set."""

    def __init__(self, sql: Dialect) -> None:
        tally = {"contact_key": "text", "count": "int", "last_at": "timestamptz", "since": "timestamptz"}
        self.count = f"""
            INSERT INTO soft_bounces (contact_key, count, last_at)
            SELECT contact_key, count + coalesce((
                SELECT known.count FROM soft_bounces AS known
                WHERE known.contact_key = item.contact_key AND known.last_at >= item.since), 0), last_at
            FROM {sql.recordset("$1", tally)} AS item WHERE true
            ON CONFLICT (contact_key) DO UPDATE SET count = excluded.count,
                last_at = CASE WHEN soft_bounces.last_at > excluded.last_at
                    THEN soft_bounces.last_at ELSE excluded.last_at END
            RETURNING contact_key, count"""
        delivered = {"contact_key": "text", "at": "timestamptz"}
        self.forget = f"""
            DELETE FROM soft_bounces WHERE contact_key IN (
                SELECT item.contact_key FROM {sql.recordset("$1", delivered)} AS item
                WHERE item.at > soft_bounces.last_at)
            RETURNING contact_key"""
