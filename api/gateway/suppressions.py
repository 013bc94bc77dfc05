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

from api.database import Database, among, listed, parse_time
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
_NONE = "none at all"
_COLUMNS = "id, channel, contact_point, reason, created_at"


class Suppression(msgspec.Struct, frozen=True, kw_only=True):
    """One block. `contact_point` is `ERASED` once its owner was."""

    id: str
    channel: Channel
    contact_point: str
    reason: str
    created_at: datetime


class SqlSuppressions:
    """`domain.ports.Suppressions` on the gateway database, and their keeping. `secret` keys the hashes."""

    def __init__(self, database: Database, secret: str) -> None:
        self._db = database
        self._secret = secret.encode()
        self._asking: Batcher[Sequence[str], Mapping[str, str]] = Batcher(
            self._find, limit=LOOKUPS_AT_ONCE, concurrency=2, name="suppressions"
        )
        self._none_until = 0.0
        self._added = 0

    async def among(self, channel: Channel, contact_points: Collection[str]) -> Suppressed:
        if monotonic() < self._none_until:
            return {}
        keys = {self._key(channel, point): point for point in contact_points}
        found = await self._asking.submit(list(keys))
        return {point: found[key] for key, point in keys.items() if key in found}

    async def add(self, channel: Channel, contact_point: str, reason: str = DEFAULT_REASON) -> Suppression:
        """Block a contact point. One that is blocked already stays so, for its first reason."""
        key = self._key(channel, contact_point)
        await self._db.query(
            "INSERT INTO suppressions (id, channel, contact_key, contact_point, reason, created_at)"
            " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (contact_key) DO NOTHING",
            [new_id(SUPPRESSION), channel.value, key, contact_point, reason, self._db.db_time(datetime.now(UTC))],
        )
        self._added, self._none_until = self._added + 1, 0.0
        rows = await self._db.query(f"SELECT {_COLUMNS} FROM suppressions WHERE contact_key = $1", [key])
        if not rows:
            raise NotFound("suppression", "it was lifted at this moment")
        return _suppression(rows[0])

    async def lift(self, id: str) -> None:
        """Allow the contact point again. Raises `NotFound`, the second time too."""
        if not await self._db.query("DELETE FROM suppressions WHERE id = $1 RETURNING id", [id]):
            raise NotFound("suppression", id)

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
        keys = [self._key(channel, point) for point in contact_points]
        if keys:
            chosen = among(self._db.dialect, "contact_key", "$1")
            await self._db.query(
                f"UPDATE suppressions SET contact_point = $2 WHERE {chosen}",
                [listed(self._db.dialect, keys), ERASED],
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

    def _key(self, channel: Channel, contact_point: str) -> str:
        """Mail to one mailbox is one contact point, whatever its casing; a token is what it is."""
        same = contact_point.casefold() if channel is Channel.EMAIL else contact_point
        return hmac.new(self._secret, f"{channel}:{same}".encode(), hashlib.sha256).hexdigest()


def _suppression(row: Mapping[str, Any]) -> Suppression:
    return Suppression(
        id=row["id"],
        channel=Channel(row["channel"]),
        contact_point=row["contact_point"],
        reason=row["reason"],
        created_at=parse_time(row["created_at"]),
    )
