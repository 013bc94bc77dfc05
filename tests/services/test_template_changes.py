"""The Template Service tells whoever remembers a template when it has changed, on both engines."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from api.database import Database, Databases
from api.templates.repository import NewTemplate, NewVersion, TemplateRepository
from domain.changes import Kind
from domain.errors import Conflict, NotFound
from domain.template import TemplateLocale

EN = TemplateLocale(locale="en", title="Hi {{ name }}")
EMPTY = NewTemplate(key="welcome", name="Welcome", default_locale="en")


class Told:
    """A repository, and what it told: the kind, the names, and which version was published by then."""

    def __init__(self, database: Database) -> None:
        self.repository = TemplateRepository(database, self._tell)
        self.changes: list[tuple[Kind, Sequence[str], int | None]] = []

    async def _tell(self, kind: Kind, names: Sequence[str]) -> None:
        try:
            published = (await self.repository.get(names[0])).published_version
        except NotFound:
            published = None
        self.changes.append((kind, tuple(names), published))


@pytest.fixture
async def told(database_url: str) -> AsyncIterator[Told]:
    databases = await Databases.open({"templates": database_url})
    await databases.migrate()
    yield Told(databases["templates"])
    await databases.close()


async def test_whoever_remembers_a_template_is_told_what_was_committed(told: Told) -> None:
    new = NewTemplate(
        key="welcome", name="Welcome", default_locale="en", version=NewVersion(locales=(EN,)), publish=True
    )
    await told.repository.create(new)
    await told.repository.add_version("welcome", NewVersion(locales=(EN,)))
    await told.repository.publish("welcome", 2)
    await told.repository.delete("welcome")
    assert told.changes == [(Kind.TEMPLATE, ("welcome",), published) for published in (1, 2, None)]


async def test_nobody_is_told_of_what_did_not_happen(told: Told) -> None:
    await told.repository.create(EMPTY)
    told.changes.clear()
    for failing in (
        told.repository.create(EMPTY),
        told.repository.publish("welcome", 1),
        told.repository.delete("none"),
    ):
        with pytest.raises((Conflict, NotFound)):
            await failing
    assert told.changes == []


async def test_a_caller_who_gives_up_keeps_no_commit_secret(told: Told) -> None:
    creating = asyncio.create_task(told.repository.create(EMPTY))
    await asyncio.sleep(0)
    creating.cancel()
    async with asyncio.timeout(10):
        while not told.changes:  # noqa: ASYNC110 - nobody is left to wait for
            await asyncio.sleep(0.01)
    assert (await told.repository.get("welcome")).key == "welcome"
