"""Dead letters as operators read them, and which of them can be replayed.

`statuslog.py` writes them: the letter of a FAILED notification in the same transaction as the status, and what nobody
could read by itself. Here they are only read; `actions.py` replays them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
import orjson

from api.database import Database, among, listed, parse_time
from api.gateway.dialect import dialect_of
from api.gateway.rows import maybe_time
from domain.errors import NotFound
from domain.ids import DEAD_LETTER, is_id
from domain.notification import Channel, Status

MAX_PAYLOAD = 65_536
"""Characters of a payload that are shown; a stranger's message may be of any size."""
MAX_DEPTH = 50
"""How deep a payload may be nested to be shown as JSON: what is deeper cannot be written into an answer."""

_COLUMNS = (
    "id, notification_id, channel, queue, reason, attempts, first_failed_at, dead_lettered_at, replayed_at,"
    f" substr(payload, 1, {MAX_PAYLOAD + 1}) AS payload"
)


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter. `notification_id` is None for a message that nobody could read; `payload` is then its body."""

    id: str
    notification_id: str | None
    channel: Channel | None
    queue: str
    reason: str
    attempts: int
    payload: Any
    first_failed_at: datetime
    dead_lettered_at: datetime
    replayed_at: datetime | None


class DeadLetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters; None means any."""

    channel: Channel | None = None
    notification_id: str | None = None
    replayed: bool | None = None
    dead_lettered_after: datetime | None = None
    dead_lettered_before: datetime | None = None


class Refusal(StrEnum):
    """Why a dead letter is not replayed."""

    NOT_FOUND = "NOT_FOUND"
    NOT_A_DELIVERY = "NOT_A_DELIVERY"
    ALREADY_REPLAYED = "ALREADY_REPLAYED"
    NOT_FAILED = "NOT_FAILED"
    TOO_LATE = "TOO_LATE"

    @property
    def sentence(self) -> str:
        """For the person who reads it."""
        return _SENTENCES[self]


_SENTENCES = {
    Refusal.NOT_FOUND: "There is no such dead letter.",
    Refusal.NOT_A_DELIVERY: "It is a message that nobody could read, not a delivery: there is nothing to send again.",
    Refusal.ALREADY_REPLAYED: "It was replayed already.",
    Refusal.NOT_FAILED: "Its notification is not FAILED any more.",
    Refusal.TOO_LATE: "The deliver_by of its notification has passed.",
}


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter that somebody wants replayed, as it stands at `seen_at` by the database's clock.

    `attempt` is its notification's: a replay of this letter is none of a later one's. `refusal` None: it can be.
    """

    id: str
    notification_id: str
    attempt: int
    seen_at: datetime
    refusal: Refusal | None


class SqlDeadLetters:
    """The dead letters of the gateway database."""

    def __init__(self, database: Database) -> None:
        self._db = database
        now = dialect_of(database.dialect).now
        self._candidates = f"""
            SELECT letter.id, letter.notification_id, letter.replayed_at, notification.status, notification.attempt,
                notification.deliver_by <= {now} AS late, {now} AS now
            FROM dead_letters AS letter
            LEFT JOIN notifications AS notification ON notification.id = letter.notification_id"""
        self._replayable = (
            "letter.replayed_at IS NULL AND notification.status = 'FAILED'"
            f" AND (notification.deliver_by IS NULL OR notification.deliver_by > {now})"
        )

    async def get(self, id: str) -> DeadLetter:
        """Raises `NotFound`."""
        rows = await self._db.query(f"SELECT {_COLUMNS} FROM dead_letters WHERE id = $1", [id])
        if not rows:
            raise NotFound("dead letter", id)
        return _dead_letter(rows[0])

    async def page(self, where: DeadLetterFilter, page: int, limit: int) -> tuple[list[DeadLetter], int]:
        """One page, the newest first, and how many there are."""
        conditions, values = self._conditions(where)
        chosen = f"FROM dead_letters AS letter WHERE {' AND '.join(conditions)}"
        count = await self._db.query(f"SELECT count(*) AS total {chosen}", values)
        at = len(values)
        rows = await self._db.query(
            f"SELECT {_COLUMNS} {chosen} ORDER BY id DESC LIMIT ${at + 1} OFFSET ${at + 2}",
            [*values, limit, (page - 1) * limit],
        )
        return [_dead_letter(row) for row in rows], count[0]["total"]

    async def candidates(self, ids: Sequence[str]) -> dict[str, Candidate]:
        """Those of these ids that exist, with what speaks against replaying them."""
        known = listed(self._db.dialect, [id for id in ids if is_id(DEAD_LETTER, id)])
        chosen = among(self._db.dialect, "letter.id", "$1")
        rows = await self._db.query(f"{self._candidates} WHERE {chosen}", [known])
        return {row["id"]: _candidate(row) for row in rows}

    async def replayable(self, where: DeadLetterFilter, after: str, limit: int) -> list[Candidate]:
        """Those that can be replayed, the oldest first, from behind the id `after` on."""
        conditions, values = self._conditions(where)
        at = len(values)
        conditions += [self._replayable, f"letter.id > ${at + 1}"]
        rows = await self._db.query(
            f"{self._candidates} WHERE {' AND '.join(conditions)} ORDER BY letter.id LIMIT ${at + 2}",
            [*values, after, limit],
        )
        return [_candidate(row) for row in rows]

    def _conditions(self, where: DeadLetterFilter) -> tuple[list[str], list[Any]]:
        after, before = where.dead_lettered_after, where.dead_lettered_before
        candidates = {
            "letter.channel =": where.channel.value if where.channel else None,
            "letter.notification_id =": where.notification_id,
            "letter.dead_lettered_at >": self._db.db_time(after) if after else None,
            "letter.dead_lettered_at <": self._db.db_time(before) if before else None,
        }
        given = {text: value for text, value in candidates.items() if value is not None}
        conditions = [f"{text} ${number}" for number, text in enumerate(given, 1)]
        if where.replayed is not None:
            conditions.append(f"letter.replayed_at IS {'NOT NULL' if where.replayed else 'NULL'}")
        return conditions or ["true"], list(given.values())


def _dead_letter(row: Mapping[str, Any]) -> DeadLetter:
    return DeadLetter(
        id=row["id"],
        notification_id=row["notification_id"],
        channel=Channel(row["channel"]) if row["channel"] else None,
        queue=row["queue"],
        reason=row["reason"],
        attempts=row["attempts"],
        payload=_shown(row["payload"]),
        first_failed_at=parse_time(row["first_failed_at"]),
        dead_lettered_at=parse_time(row["dead_lettered_at"]),
        replayed_at=maybe_time(row["replayed_at"]),
    )


def _shown(column: str | None) -> Any:
    """A payload as JSON as far as it parses, else as text; the body of a message is a JSON text in its column."""
    if column is None:
        return None
    if len(column) > MAX_PAYLOAD:
        return f"{column[:MAX_PAYLOAD]}…"
    stored = _parsed(column)
    return _parsed(stored) if isinstance(stored, str) else stored


def _parsed(text: str) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value if _is_shallow(value, MAX_DEPTH) else text


def _is_shallow(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_shallow(each, levels - 1) for each in inner)


def _candidate(row: Mapping[str, Any]) -> Candidate:
    return Candidate(
        id=row["id"],
        notification_id=row["notification_id"] or "",
        attempt=row["attempt"] or 0,
        seen_at=parse_time(row["now"]),
        refusal=_refusal(row),
    )


def _refusal(row: Mapping[str, Any]) -> Refusal | None:
    if row["notification_id"] is None:
        return Refusal.NOT_A_DELIVERY
    if row["replayed_at"] is not None:
        return Refusal.ALREADY_REPLAYED
    if row["status"] != Status.FAILED:
        return Refusal.NOT_FAILED
    return Refusal.TOO_LATE if row["late"] else None
