"""Templates and their versions in their database."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from api.changes import Tell, tell_nobody
from api.database import Database, IntegrityError, Tx, among, listed, parse_time
from api.templates.tables import TemplateRow, VersionRow
from domain.changes import Kind
from domain.concurrency import shielded
from domain.errors import Conflict, NotFound
from domain.ids import TEMPLATE, new_id
from domain.template import Template, TemplateLocale, TemplateVersion

_TEMPLATE = "key, id, name, default_locale, published_version, created_at, updated_at"
_VERSION = "id, key, version, default_locale, locales, note, published_at, created_at"


class NewVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version to be written. Its locales are valid and have canonical tags."""

    locales: tuple[TemplateLocale, ...]
    note: str | None = None


class NewTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A template to be made, with or without a first version. `publish` it at once, or not."""

    key: str
    name: str
    default_locale: str
    version: NewVersion | None = None
    publish: bool = False


class TemplateRepository:
    """The `templates` database. Everything raises `DatabaseUnavailable` when it is away.

    A deleted template keeps its versions: what was accepted with one of them is still to be sent. `tell` hears of each
    template whose published version may have changed, after the commit and before the caller has its answer.
    """

    def __init__(self, database: Database, tell: Tell = tell_nobody) -> None:
        self._db, self._tell = database, tell

    async def ping(self) -> None:
        """Raises unless the database answers."""
        await self._db.ping()

    async def create(self, new: NewTemplate) -> Template:
        """Raises `Conflict` when there is a template with this key."""

        async def work(tx: Tx) -> None:
            await self._make(tx, new)
            if new.version is not None:
                number = await self._add_version(tx, new.key, new.version)
                if new.publish:
                    await self._publish(tx, new.key, number)

        try:
            await self._change(new.key, work)
        except IntegrityError as error:
            raise Conflict(f"There is a template {new.key!r} already.") from error
        return await self.get(new.key)

    async def get(self, key: str) -> Template:
        """The template with its published version. Raises `NotFound`."""
        sql = f"select {_TEMPLATE} from templates where key = $1 and deleted_at is null"
        templates = await self._templates(sql, [key])
        if not templates:
            raise NotFound("template", key)
        return templates[0]

    async def page(self, page: int, limit: int) -> tuple[list[Template], int]:
        """One page of templates by key, and how many there are."""
        count = await self._db.query("select count(*) as total from templates where deleted_at is null")
        sql = f"select {_TEMPLATE} from templates where deleted_at is null order by key limit $1 offset $2"
        return await self._templates(sql, [limit, (page - 1) * limit]), count[0]["total"]

    async def delete(self, key: str) -> None:
        """Hide a template; nothing new can be sent with it. Raises `NotFound`."""
        now = datetime.now(UTC)

        async def work(_: Tx) -> None:
            found = TemplateRow.filter(key=key, deleted_at=None)
            if not await found.update(deleted_at=now, published_version=None, updated_at=now):
                raise NotFound("template", key)

        await self._change(key, work)

    async def versions(self, key: str) -> list[TemplateVersion]:
        """All versions of a template that is there, the newest first. Raises `NotFound`."""
        template = await self.get(key)
        sql = f"select {_VERSION} from template_versions where key = $1 and template_id = $2 order by version desc"
        return [_version(row) for row in await self._db.query(sql, [key, template.id])]

    async def version(self, key: str, number: int) -> TemplateVersion:
        """One version, of a deleted template too. Raises `NotFound`."""
        sql = f"select {_VERSION} from template_versions where id = $1"
        rows = await self._db.query(sql, [_version_id(key, number)])
        if not rows:
            raise NotFound("template version", _version_id(key, number))
        return _version(rows[0])

    async def add_version(self, key: str, new: NewVersion) -> TemplateVersion:
        """Write the next version, unpublished. Raises `NotFound`."""
        return await self.version(key, await self._db.unit(lambda tx: self._add_version(tx, key, new)))

    async def publish(self, key: str, number: int) -> Template:
        """Make this the version that is sent; an older one rolls back. May be called twice. Raises `NotFound`."""
        await self._change(key, lambda tx: self._publish(tx, key, number))
        return await self.get(key)

    async def _change(self, key: str, work: Callable[[Tx], Awaitable[None]]) -> None:
        """A unit of work that is told of, even when its caller is gone by then."""

        async def change() -> None:
            await self._db.unit(work)
            await self._tell(Kind.TEMPLATE, [key])

        await shielded(change())

    async def _make(self, tx: Tx, new: NewTemplate) -> None:
        now = self._db.db_time(datetime.now(UTC))
        # The key of a deleted template may be used again; the numbers of its versions go on.
        rows = await tx.query(
            "insert into templates (key, id, name, default_locale, latest_version, created_at, updated_at)"
            " values ($1, $2, $3, $4, 0, $5, $5)"
            " on conflict (key) do update set id = excluded.id, name = excluded.name,"
            " default_locale = excluded.default_locale, created_at = excluded.created_at,"
            " updated_at = excluded.updated_at, deleted_at = null"
            " where templates.deleted_at is not null returning key",
            [new.key, new_id(TEMPLATE), new.name, new.default_locale, now],
        )
        if not rows:
            raise Conflict(f"There is a template {new.key!r} already.")

    async def _add_version(self, tx: Tx, key: str, new: NewVersion) -> int:
        now = datetime.now(UTC)
        # The update locks the template: two writers get two numbers.
        rows = await tx.query(
            "update templates set latest_version = latest_version + 1, updated_at = $2"
            " where key = $1 and deleted_at is null returning id, latest_version, default_locale",
            [key, self._db.db_time(now)],
        )
        if not rows:
            raise NotFound("template", key)
        number: int = rows[0]["latest_version"]
        row = VersionRow(
            id=_version_id(key, number),
            key=key,
            version=number,
            template_id=rows[0]["id"],
            default_locale=rows[0]["default_locale"],
            locales=msgspec.to_builtins(new.locales),
            note=new.note,
            created_at=now,
        )
        await row.save(force_create=True)
        return number

    async def _publish(self, tx: Tx, key: str, number: int) -> None:
        now = self._db.db_time(datetime.now(UTC))
        rows = await tx.query(
            "update templates set published_version = $2, updated_at = $3 where key = $1 and deleted_at is null and"
            " exists (select 1 from template_versions as v where v.id = $4 and v.template_id = templates.id)"
            " returning key",
            [key, number, now, _version_id(key, number)],
        )
        if not rows:
            raise NotFound("template version", _version_id(key, number))
        await tx.query(
            "update template_versions set published_at = $2 where id = $1 and published_at is null",
            [_version_id(key, number), now],
        )

    async def _templates(self, sql: str, params: Sequence[Any]) -> list[Template]:
        rows = await self._db.query(sql, params)
        wanted = [_version_id(row["key"], row["published_version"]) for row in rows if row["published_version"]]
        published: dict[str, TemplateVersion] = {}
        if wanted:
            chosen = among(self._db.dialect, "id", "$1")
            sql = f"select {_VERSION} from template_versions where {chosen}"
            found = await self._db.query(sql, [listed(self._db.dialect, wanted)])
            published = {row["key"]: _version(row) for row in found}
        return [_template(row, published.get(row["key"])) for row in rows]


def _version_id(key: str, number: int) -> str:
    return f"{key}@{number}"


def _template(row: Mapping[str, Any], published: TemplateVersion | None) -> Template:
    return Template(
        id=row["id"],
        key=row["key"],
        name=row["name"],
        default_locale=row["default_locale"],
        published_version=row["published_version"],
        published=published,
        created_at=parse_time(row["created_at"]),
        updated_at=parse_time(row["updated_at"]),
    )


def _version(row: Mapping[str, Any]) -> TemplateVersion:
    locales = row["locales"]
    return TemplateVersion(
        key=row["key"],
        version=row["version"],
        default_locale=row["default_locale"],
        published=row["published_at"] is not None,
        locales=msgspec.convert(
            json.loads(locales) if isinstance(locales, str) else locales, tuple[TemplateLocale, ...]
        ),
        note=row["note"],
        created_at=parse_time(row["created_at"]),
    )
