"""Suppressions: our blocks on contact points, whatever their owner prefers.

They are found by a keyed hash (HMAC-SHA256, RFC 2104), so that erasing a user can take the contact point away and
leave the block: nobody who reads the table learns the address, and mail to it still stops.
"""

import hashlib
import hmac
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import msgspec

from api.database import Database, Tx, among, listed, parse_time
from api.gateway.dialect import as_set, dialect_of, stamp
from domain.concurrency import Batcher
from domain.errors import NotFound
from domain.ids import SUPPRESSION, new_id
from domain.notification import Channel
from domain.recipient import Suppressed

LOOKUPS_AT_ONCE = 500
SURE_FOR = 1.0
"""Seconds for which nobody is asked again once there were no suppressions at all."""
DEFAULT_REASON = "added by hand"
ERASED = "(erased)"
MAX_REASON = 200
BOUNCED_OFTEN = "bounces in a row"
"""The one reason that a later delivery lifts; any other one takes its place."""
_NONE = "none at all"
_COLUMNS = "id, channel, contact_point, category, reason, created_at"
_SET = {
    "id": "text",
    "channel": "text",
    "contact_key": "text",
    "contact_point": "text",
    "category": "text",
    "reason": "text",
    "created_at": "timestamptz",
}


class Suppression(msgspec.Struct, frozen=True, kw_only=True):
    """One block, for everything or for one category. `contact_point` is `ERASED` once its owner was."""

    id: str
    channel: Channel
    contact_point: str
    reason: str
    created_at: datetime
    category: str | None = None


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A contact point to block; without a category for everything."""

    channel: Channel
    contact_point: str
    reason: str
    category: str | None = None


class SqlSuppressions:
    """`domain.ports.Suppressions` on the gateway database, and their keeping. `secret` keys the hashes."""

    def __init__(self, database: Database, secret: str) -> None:
        self._db = database
        self._secret = secret.encode()
        columns = ", ".join(_SET)
        self._insert = f"""
            INSERT INTO suppressions ({columns}) SELECT {columns}
            FROM {dialect_of(database.dialect).recordset("$1", _SET)} AS item WHERE true
            ON CONFLICT (contact_key) DO UPDATE SET reason = excluded.reason
            WHERE suppressions.reason = '{BOUNCED_OFTEN}'"""
        self._asking: Batcher[Sequence[str], Mapping[str, str]] = Batcher(
            self._find, limit=LOOKUPS_AT_ONCE, concurrency=2, name="suppressions"
        )
        self._none_until = 0.0
        self._added = 0

    async def among(self, channel: Channel, contact_points: Collection[str], category: str | None = None) -> Suppressed:
        if monotonic() < self._none_until:
            return {}
        keys = {self.key(channel, point): point for point in contact_points}
        if category is not None:
            keys |= {self.key(channel, point, category): point for point in contact_points}
        found = await self._asking.submit(list(keys))
        # Backwards, so that the block for everything, which comes first, has the last word.
        return {point: found[key] for key, point in reversed(keys.items()) if key in found}

    async def add(
        self, channel: Channel, contact_point: str, reason: str = DEFAULT_REASON, category: str | None = None
    ) -> Suppression:
        """Block a contact point. One that is blocked already stays so, for its first reason."""
        block = Block(channel=channel, contact_point=contact_point, reason=reason, category=category)
        await self._db.query(self._insert, [as_set([self._row(block)])])
        self.heed()
        key = self.key(channel, contact_point, category)
        rows = await self._db.query(f"SELECT {_COLUMNS} FROM suppressions WHERE contact_key = $1", [key])
        if not rows:
            raise NotFound("suppression", "it was lifted at this moment")
        return _suppression(rows[0])

    async def add_within(self, tx: Tx, blocks: Collection[Block]) -> None:
        """Block them all in a unit of work under way; call `heed` once it is committed. The first reason counts."""
        rows: dict[str, dict[str, Any]] = {}
        for row in map(self._row, blocks):
            rows.setdefault(row["contact_key"], row)
        if rows:
            # In one order, so that two units of work with the same contact points wait and do not deadlock.
            await tx.query(self._insert, [as_set(rows[key] for key in sorted(rows))])

    def heed(self) -> None:
        """Something was added: that there are none at all is no longer sure."""
        self._added, self._none_until = self._added + 1, 0.0

    async def lift(self, id: str) -> None:
        """Allow the contact point again; its bounces in a row are counted anew. Raises `NotFound`, the second time
        too."""
        rows = await self._db.query("DELETE FROM suppressions WHERE id = $1 RETURNING contact_key", [id])
        if not rows:
            raise NotFound("suppression", id)
        await self._db.query("DELETE FROM soft_bounces WHERE contact_key = $1", [rows[0]["contact_key"]])

    async def get(self, id: str) -> Suppression:
        """Raises `NotFound`."""
        rows = await self._db.query(f"SELECT {_COLUMNS} FROM suppressions WHERE id = $1", [id])
        if not rows:
            raise NotFound("suppression", id)
        return _suppression(rows[0])

    async def page(self, channel: Channel | None, page: int, limit: int) -> tuple[list[Suppression], int]:
        """One page, the newest first, and how many there are."""
        where, given = ("WHERE channel = $1", [channel.value]) if channel else ("", [])
        count = await self._db.query(f"SELECT count(*) AS total FROM suppressions {where}", given)
        at = len(given)
        rows = await self._db.query(
            f"SELECT {_COLUMNS} FROM suppressions {where} ORDER BY id DESC LIMIT ${at + 1} OFFSET ${at + 2}",
            [*given, limit, (page - 1) * limit],
        )
        return [_suppression(row) for row in rows], count[0]["total"]

    async def forget(self, channel: Channel, contact_points: Collection[str]) -> None:
        """Keep the blocks, not the contact points. May be called again."""
        keys = [self.key(channel, point) for point in contact_points]
        if keys:
            whole = among(self._db.dialect, "contact_key", "$1")
            parts = among(self._db.dialect, "contact_point", "$3")
            points = [_same(channel, point) for point in contact_points]
            await self._db.query(
                f"UPDATE suppressions SET contact_point = $2 WHERE {whole} OR (category IS NOT NULL AND {parts})",
                [listed(self._db.dialect, keys), ERASED, listed(self._db.dialect, points)],
            )

    async def _find(self, lists: Sequence[Sequence[str]]) -> Sequence[Mapping[str, str]]:
        keys, added = [key for each in lists for key in each], self._added
        chosen = among(self._db.dialect, "contact_key", "$1")
        rows = await self._db.query(
            f"SELECT contact_key, reason FROM suppressions WHERE {chosen}"
            f" UNION ALL SELECT '{_NONE}', '' WHERE NOT EXISTS (SELECT 1 FROM suppressions)",
            [listed(self._db.dialect, keys)],
        )
        found = {row["contact_key"]: row["reason"] for row in rows}
        if found.pop(_NONE, None) is not None and added == self._added:
            self._none_until = monotonic() + SURE_FOR
        return [found] * len(lists)

    def _row(self, block: Block) -> dict[str, Any]:
        point = block.contact_point
        return {
            "id": new_id(SUPPRESSION),
            "channel": block.channel.value,
            "contact_key": self.key(block.channel, point, block.category),
            # `forget` finds the block for a category by its contact point: its key depends on the category too.
            "contact_point": point if block.category is None else _same(block.channel, point),
            "category": block.category,
            "reason": block.reason[:MAX_REASON],
            "created_at": stamp(datetime.now(UTC)),
        }

    def key(self, channel: Channel, contact_point: str, category: str | None = None) -> str:
        """What a contact point is found by."""
        about = f"{channel}:{_same(channel, contact_point)}" + ("" if category is None else f"\0{category}")
        return hmac.new(self._secret, about.encode(), hashlib.sha256).hexdigest()


def _same(channel: Channel, contact_point: str) -> str:
    """Mail to one mailbox is one contact point, whatever its casing; a token is what it is."""
    return contact_point.casefold() if channel is Channel.EMAIL else contact_point


def _suppression(row: Mapping[str, Any]) -> Suppression:
    return Suppression(
        id=row["id"],
        channel=Channel(row["channel"]),
        contact_point=row["contact_point"],
        category=row["category"],
        reason=row["reason"],
        created_at=parse_time(row["created_at"]),
    )
