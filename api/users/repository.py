"""Users in their database. The ORM writes; what is read for sending is raw rows, one statement a set."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from math import ceil
from typing import Any

import msgspec

from api.changes import Tell, tell_nobody
from api.database import Database, IntegrityError, Tx, among, listed
from api.http import page_meta
from api.records import Page, User, UserCursor
from api.users.commits import Commits, Work
from api.users.devices import Devices
from api.users.erasures import Erasures, begin_erasure, refuse_while_erased
from api.users.rows import (
    DEVICE_COLUMNS,
    USER_COLUMNS,
    read_preferences,
    to_recipient,
    to_user,
    write_preferences,
)
from api.users.tables import UserRow
from domain.changes import Kind
from domain.errors import Conflict, NotFound
from domain.ids import USER, new_id
from domain.preferences import Preferences
from domain.recipient import Recipient

_TAKEN = {
    "id": "There is a user with this id already.",
    "email": "There is a user with this address already.",
}


class NewUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user to be made; without an id it gets one."""

    id: str | None = None
    email: str | None = None
    name: str | None = None
    locale: str = "en"
    time_zone: str = "UTC"


class UserRepository:
    """The `users` database. Everything raises `DatabaseUnavailable` when it is away.

    After each commit that changes what `lookup` answers, `tell` is told whose answer it was.
    """

    def __init__(self, database: Database, tell: Tell = tell_nobody) -> None:
        self._db = database
        self._commits = Commits(database, tell)
        self.devices = Devices(database, self._commits)
        self.erasures = Erasures(database)

    async def ping(self) -> None:
        """Raises unless the database answers."""
        await self._db.ping()

    async def create(self, new: NewUser) -> User:
        """Raises `Conflict`, naming the field, when the id or the address is taken or the id is being erased."""
        id_ = new.id or new_id(USER)

        async def work(tx: Tx) -> tuple[None, Sequence[str]]:
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
            await refuse_while_erased(tx, id_)
            return None, [id_]

        await self._write(work)
        return await self.get(id_)

    async def get(self, id_: str) -> User:
        """Raises `NotFound`."""
        users = await self._users(f"select {USER_COLUMNS} from users where id = $1", [id_])
        if not users:
            raise NotFound("user", id_)
        return users[0]

    async def page(self, page: int, limit: int, email: str | None = None) -> Page[User]:
        """One page of users by age; `email` finds one address, in any case."""
        where, params = _only(email)
        count = await self._db.query(f"select count(*) as total from users where {where}", params)
        users = await self._by_age(where, params, limit, offset=(page - 1) * limit)
        return Page(items=users, meta=page_meta(count[0]["total"], page, limit))

    async def after(self, cursor: UserCursor | None, limit: int, email: str | None = None) -> Page[User]:
        """The next users by age after a place in the list (None: its beginning), however the list has changed since.

        `meta.has_next` is exact; `meta.page` is the page on which the first of them stands when pages end here.
        """
        where, params = _only(email)
        passed, further = "false", where
        if cursor is not None:
            params = [*params, self._db.db_time(cursor.created_at), cursor.id]
            place = f"(${len(params) - 1}, ${len(params)})"
            passed, further = f"(created_at, id) <= {place}", f"{where} and (created_at, id) > {place}"
        sql = f"select count(*) as total, count(*) filter (where {passed}) as passed from users where {where}"
        count = (await self._db.query(sql, params))[0]
        users = await self._by_age(further, params, limit + 1)
        meta = page_meta(count["total"], ceil(count["passed"] / limit) + 1, limit)
        exact = msgspec.structs.replace(meta, has_next=len(users) > limit, has_previous=count["passed"] > 0)
        return Page(items=users[:limit], meta=exact)

    async def update(self, id_: str, changes: Mapping[str, str | None]) -> User:
        """Change some of email, name, locale and time zone. Raises `NotFound`, `Conflict` for the address."""
        values: dict[str, Any] = {**changes, "updated_at": datetime.now(UTC)}
        if "email" in changes:
            values["email_key"] = _email_key(changes["email"])

        async def work(_: Tx) -> tuple[None, Sequence[str]]:
            if not await UserRow.filter(id=id_).update(**values):
                raise NotFound("user", id_)
            return None, [id_]

        await self._write(work)
        return await self.get(id_)

    async def choose(self, id_: str, choose: Callable[[Preferences], Preferences]) -> Preferences:
        """Replace what a user chose by what `choose` makes of it; concurrent calls follow each other.

        Raises `NotFound`, and whatever `choose` raises; then nothing has changed.
        """

        async def work(_: Tx) -> tuple[Preferences, Sequence[str]]:
            row = await UserRow.select_for_update().get_or_none(id=id_)
            if row is None:
                raise NotFound("user", id_)
            chosen = choose(read_preferences(row.preferences))
            values = {"preferences": write_preferences(chosen), "updated_at": datetime.now(UTC)}
            await UserRow.filter(id=id_).update(**values)
            return chosen, [id_]

        return await self._commits.run(work)

    async def delete(self, id_: str) -> None:
        """Forget a user, their devices and preferences, and begin their erasure elsewhere. Raises `NotFound`."""

        async def work(_: Tx) -> tuple[None, Sequence[str]]:
            if not await UserRow.filter(id=id_).delete():
                raise NotFound("user", id_)
            await begin_erasure(id_)
            return None, [id_]

        await self._commits.run(work, kinds=(Kind.USER, Kind.ERASURE))

    async def lookup(self, ids: Sequence[str]) -> list[Recipient]:
        """Those users that exist, as delivery needs them: two statements, however many there are."""
        if not ids:
            return []
        rows = await self._db.query(
            f"select {USER_COLUMNS} from users where {among(self._db.dialect, 'id', '$1')}",
            [listed(self._db.dialect, ids)],
        )
        devices = await self._device_rows([row["id"] for row in rows])
        return [to_recipient(row, devices.get(row["id"], ())) for row in rows]

    async def recipient(self, id_: str) -> Recipient:
        """One user as delivery sees them. Raises `NotFound`."""
        found = await self.lookup([id_])
        if not found:
            raise NotFound("user", id_)
        return found[0]

    async def _write(self, work: Work[None]) -> None:
        try:
            await self._commits.run(work)
        except IntegrityError as error:
            field = _taken_field(error)
            raise Conflict.of(field, _TAKEN[field]) from error

    async def _by_age(self, where: str, params: Sequence[Any], limit: int, offset: int = 0) -> list[User]:
        at = len(params)
        sql = f"select {USER_COLUMNS} from users where {where} order by created_at, id"
        return await self._users(f"{sql} limit ${at + 1} offset ${at + 2}", [*params, limit, offset])

    async def _users(self, sql: str, params: Sequence[Any]) -> list[User]:
        rows = await self._db.query(sql, params)
        devices = await self._device_rows([row["id"] for row in rows])
        return [to_user(row, devices.get(row["id"], ())) for row in rows]

    async def _device_rows(self, user_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        if not user_ids:
            return {}
        chosen = among(self._db.dialect, "user_id", "$1")
        rows = await self._db.query(
            f"select {DEVICE_COLUMNS} from devices where {chosen} order by user_id, id",
            [listed(self._db.dialect, user_ids)],
        )
        return {user_id: list(group) for user_id, group in groupby(rows, key=lambda row: row["user_id"])}


def _only(email: str | None) -> tuple[str, list[Any]]:
    return ("true", []) if email is None else ("email_key = $1", [_email_key(email)])


def _email_key(email: str | None) -> str | None:
    return None if email is None else email.casefold()


def _taken_field(error: IntegrityError) -> str:
    """Which of a user's two unique fields was violated: the database itself says so, nobody needs to look again."""
    cause = error.args[0]
    constraint: str = getattr(cause, "constraint_name", None) or str(cause)
    return "id" if constraint.endswith(("users_pkey", "users.id")) else "email"
