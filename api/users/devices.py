"""Where push reaches users."""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from api.database import Database, IntegrityError, Tx, among, listed
from api.records import UserDevice
from api.users.commits import Commits
from api.users.rows import DEVICE_COLUMNS, to_device
from domain.errors import NotFound
from domain.ids import DEVICE, new_id

MAX_DEVICES = 50
"""Of one user. Registering another one forgets the one that was seen least recently."""


class Devices:
    """The devices in the users database. Everything raises `DatabaseUnavailable` when it is away."""

    def __init__(self, database: Database, commits: Commits) -> None:
        self._db, self._commits = database, commits

    async def register(self, user_id: str, platform: str, token: str) -> UserDevice:
        """Add a device, or refresh it where its token is known: a token moves to whoever registered it last.

        Raises `NotFound` for the user. May be called twice.
        """
        now = self._db.db_time(datetime.now(UTC))

        async def work(tx: Tx) -> tuple[UserDevice, Sequence[str]]:
            hashed = sha256(token.encode()).hexdigest()
            before = await _owners(tx, hashed)
            device = await _upsert(tx, user_id, platform, token, hashed, now)
            await _forget_surplus(tx, user_id)
            return device, [user_id, *before]

        try:
            return await self._commits.run(work)
        except IntegrityError as error:  # a device can only be of a user who exists
            raise NotFound("user", user_id) from error

    async def get(self, id_: str) -> UserDevice:
        """Raises `NotFound`."""
        rows = await self._db.query(f"select {DEVICE_COLUMNS} from devices where id = $1", [id_])
        if not rows:
            raise NotFound("device", id_)
        return to_device(rows[0])

    async def remove(self, id_: str, user_id: str | None = None) -> str:
        """Forget a device; with `user_id` only if it is that user's. Answers whose it was. Raises `NotFound`."""
        theirs, params = ("", [id_]) if user_id is None else (" and user_id = $2", [id_, user_id])

        async def work(tx: Tx) -> tuple[str, Sequence[str]]:
            rows = await tx.query(f"delete from devices where id = $1{theirs} returning user_id", params)
            if not rows:
                raise NotFound("device", id_)
            owner: str = rows[0]["user_id"]
            return owner, [owner]

        return await self._commits.run(work)

    async def retire(self, ids: Sequence[str], refused_at: datetime | None = None) -> int:
        """Push does not use these any more, until they are registered again. Answers how many it used until now.

        Unknown ids are passed over, and those that were registered after `refused_at`: the provider's word is older
        than theirs. May be called twice.
        """
        now = datetime.now(UTC)
        params = [self._db.db_time(now), self._db.db_time(refused_at or now)]

        async def work(tx: Tx) -> tuple[int, Sequence[str]]:
            rows = await tx.query(
                f"update devices set invalid_since = $1 where {among(tx.dialect, 'id', '$3')}"
                " and invalid_since is null and last_seen_at <= $2 returning user_id",
                [*params, listed(tx.dialect, ids)],
            )
            return len(rows), [row["user_id"] for row in rows]

        return await self._commits.run(work)


async def _owners(tx: Tx, token_hash: str) -> list[str]:
    """Whose the token is, and stays until the transaction ends unless it is the one that moves it."""
    if tx.dialect == "postgres":
        # There may be no row to lock yet; on SQLite nobody else writes anyway.
        await tx.query("select pg_advisory_xact_lock(hashtextextended($1, 0))", [token_hash])
    rows = await tx.query("select user_id from devices where token_hash = $1", [token_hash])
    return [row["user_id"] for row in rows]


async def _upsert(tx: Tx, user_id: str, platform: str, token: str, token_hash: str, now: Any) -> UserDevice:
    rows = await tx.query(
        "insert into devices (id, user_id, platform, token, token_hash, created_at, last_seen_at)"
        " values ($1, $2, $3, $4, $5, $6, $6)"
        " on conflict (token_hash) do update set user_id = excluded.user_id, platform = excluded.platform,"
        f" invalid_since = null, last_seen_at = excluded.last_seen_at returning {DEVICE_COLUMNS}",
        [new_id(DEVICE), user_id, platform, token, token_hash, now],
    )
    return to_device(rows[0])


async def _forget_surplus(tx: Tx, user_id: str) -> None:
    await tx.query(
        "delete from devices where user_id = $1 and id not in"
        " (select id from devices where user_id = $1 order by last_seen_at desc, id desc limit $2)",
        [user_id, MAX_DEVICES],
    )
