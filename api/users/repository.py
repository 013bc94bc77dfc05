"""Users and devices in their database. The ORM writes; what is read for sending is raw rows, one statement a set."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from itertools import groupby
from typing import Any

import msgspec

from api.database import Database, IntegrityError, Tx, among, listed, parse_time
from api.records import User, UserDevice
from api.users.tables import UserRow
from domain.errors import Conflict, NotFound
from domain.ids import DEVICE, USER, new_id
from domain.recipient import Device, Recipient

MAX_DEVICES = 50
"""Of one user. Registering another one forgets the one that was seen least recently."""

_USER = "id, email, name, locale, time_zone, created_at, updated_at"
_DEVICE = "id, user_id, platform, token, invalid_since, created_at, last_seen_at"


class NewUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user to be made; without an id it gets one."""

    id: str | None = None
    email: str | None = None
    name: str | None = None
    locale: str = "en"
    time_zone: str = "UTC"


class UserRepository:
    """The `users` database. Everything raises `DatabaseUnavailable` when it is away."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def ping(self) -> None:
        """Raises unless the database answers."""
        await self._db.ping()

    async def create(self, new: NewUser) -> User:
        """Raises `Conflict` when the id or the address is somebody's already."""
        id_ = new.id or new_id(USER)

        async def work(_: Tx) -> None:
            now = datetime.now(UTC)
            row = UserRow(
                id=id_,
                email=new.email,
                email_key=_email_key(new.email),
                name=new.name,
                locale=new.locale,
                time_zone=new.time_zone,
                created_at=now,
                updated_at=now,
            )
            await row.save(force_create=True)

        await self._write(work)
        return await self.get(id_)

    async def get(self, id_: str) -> User:
        """Raises `NotFound`."""
        users = await self._users(f"select {_USER} from users where id = $1", [id_])
        if not users:
            raise NotFound("user", id_)
        return users[0]

    async def page(self, page: int, limit: int, email: str | None = None) -> tuple[list[User], int]:
        """One page of users by age, and how many there are; `email` finds one address, in any case."""
        where, params = ("where email_key = $1", [_email_key(email)]) if email is not None else ("", [])
        count = await self._db.query(f"select count(*) as total from users {where}", params)
        at = len(params)
        sql = f"select {_USER} from users {where} order by created_at, id limit ${at + 1} offset ${at + 2}"
        return await self._users(sql, [*params, limit, (page - 1) * limit]), count[0]["total"]

    async def update(self, id_: str, changes: Mapping[str, str | None]) -> User:
        """Change some of email, name, locale and time zone. Raises `NotFound`, `Conflict`."""
        values: dict[str, Any] = {**changes, "updated_at": datetime.now(UTC)}
        if "email" in changes:
            values["email_key"] = _email_key(changes["email"])

        async def work(_: Tx) -> None:
            if not await UserRow.filter(id=id_).update(**values):
                raise NotFound("user", id_)

        await self._write(work)
        return await self.get(id_)

    async def delete(self, id_: str) -> None:
        """Forget a user and all devices. Raises `NotFound`."""

        async def work(_: Tx) -> None:
            if not await UserRow.filter(id=id_).delete():
                raise NotFound("user", id_)

        await self._write(work)

    async def lookup(self, ids: Sequence[str]) -> list[Recipient]:
        """Those users that exist, as delivery needs them: two statements, however many there are."""
        if not ids:
            return []
        chosen = among(self._db.dialect, "id", "$1")
        rows = await self._db.query(
            f"select {_USER} from users where {chosen}",
            [listed(self._db.dialect, ids)],
        )
        devices = await self._device_rows([row["id"] for row in rows])
        return [_recipient(row, devices.get(row["id"], ())) for row in rows]

    async def register_device(self, user_id: str, platform: str, token: str) -> UserDevice:
        """Add a device, or refresh it where its token is known: a token moves to whoever registered it last.

        Raises `NotFound` for the user.
        """
        now = datetime.now(UTC)

        async def work(tx: Tx) -> str:
            if not await UserRow.filter(id=user_id).exists():
                raise NotFound("user", user_id)
            id_ = await _upsert_device(tx, user_id, platform, token, self._db.db_time(now))
            await _forget_surplus(tx, user_id)
            return id_

        return await self.device(await self._db.unit(work))

    async def device(self, id_: str) -> UserDevice:
        """Raises `NotFound`."""
        rows = await self._db.query(f"select {_DEVICE} from devices where id = $1", [id_])
        if not rows:
            raise NotFound("device", id_)
        return _device(rows[0])

    async def remove_device(self, id_: str, user_id: str | None = None) -> str:
        """Forget a device; with `user_id` only if it is that user's. Answers whose it was. Raises `NotFound`."""
        device = await self.device(id_)
        if user_id not in {None, device.user_id}:
            raise NotFound("device", id_)
        await self._db.query("delete from devices where id = $1", [id_])
        return device.user_id

    async def _write(self, work: Callable[[Tx], Awaitable[None]]) -> None:
        try:
            await self._db.unit(work)
        except IntegrityError as error:
            raise Conflict("There is a user with this id or this email address already.") from error

    async def _users(self, sql: str, params: Sequence[Any]) -> list[User]:
        rows = await self._db.query(sql, params)
        devices = await self._device_rows([row["id"] for row in rows])
        return [_user(row, devices.get(row["id"], ())) for row in rows]

    async def _device_rows(self, user_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        if not user_ids:
            return {}
        chosen = among(self._db.dialect, "user_id", "$1")
        rows = await self._db.query(
            f"select {_DEVICE} from devices where {chosen} order by user_id, id",
            [listed(self._db.dialect, user_ids)],
        )
        return {user_id: list(group) for user_id, group in groupby(rows, key=lambda row: row["user_id"])}


async def _upsert_device(tx: Tx, user_id: str, platform: str, token: str, now: Any) -> str:
    rows = await tx.query(
        "insert into devices (id, user_id, platform, token, token_hash, created_at, last_seen_at)"
        " values ($1, $2, $3, $4, $5, $6, $6)"
        " on conflict (token_hash) do update set user_id = excluded.user_id, platform = excluded.platform,"
        " invalid_since = null, last_seen_at = excluded.last_seen_at returning id",
        [new_id(DEVICE), user_id, platform, token, sha256(token.encode()).hexdigest(), now],
    )
    id_: str = rows[0]["id"]
    return id_


async def _forget_surplus(tx: Tx, user_id: str) -> None:
    await tx.query(
        "delete from devices where user_id = $1 and id not in"
        " (select id from devices where user_id = $1 order by last_seen_at desc, id desc limit $2)",
        [user_id, MAX_DEVICES],
    )


def _email_key(email: str | None) -> str | None:
    return None if email is None else email.casefold()


def _user(row: Mapping[str, Any], devices: Sequence[Mapping[str, Any]]) -> User:
    return User(
        id=row["id"],
        email=row["email"],
        name=row["name"],
        locale=row["locale"],
        time_zone=row["time_zone"],
        devices=tuple(map(_device, devices)),
        created_at=parse_time(row["created_at"]),
        updated_at=parse_time(row["updated_at"]),
    )


def _device(row: Mapping[str, Any]) -> UserDevice:
    return UserDevice(
        id=row["id"],
        user_id=row["user_id"],
        platform=row["platform"],
        token_hint=f"…{row['token'][-4:]}",
        valid=row["invalid_since"] is None,
        created_at=parse_time(row["created_at"]),
        last_seen_at=parse_time(row["last_seen_at"]),
    )


def _recipient(row: Mapping[str, Any], devices: Sequence[Mapping[str, Any]]) -> Recipient:
    return Recipient(
        user_id=row["id"],
        name=row["name"],
        email=row["email"],
        locale=row["locale"],
        time_zone=row["time_zone"],
        devices=tuple(
            Device(id=device["id"], token=device["token"], platform=device["platform"])
            for device in devices
            if device["invalid_since"] is None
        ),
    )
