"""How the users database came to be what it is: nothing is lost on the way, on both engines."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from tortoise.migrations.autodetector import MigrationAutodetector
from tortoise.migrations.executor import MigrationExecutor, MigrationTarget
from tortoise.migrations.operations import AddField, CreateModel, DeleteModel, RemoveField

from api.database import Database, Databases
from api.database_urls import app_config
from api.users.repository import UserRepository
from domain.preferences import Preferences

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
USER = (
    "insert into users (id, email, email_key, locale, time_zone, created_at, updated_at)"
    " values ('usr_1', 'Ann@example.com', 'ann@example.com', 'pt-BR', 'UTC', $1, $1)"
)
DEVICE = (
    "insert into devices (id, user_id, platform, token, token_hash, created_at, last_seen_at)"
    " values ('dev_1', 'usr_1', 'WEB', 'token-0001', 'hash', $1, $1)"
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    databases = await Databases.open({"users": database_url})
    yield databases["users"]
    await databases.close()


async def to_first(database: Database) -> None:
    """Make the tables of the first release."""
    await database.ping()  # SQLite connects with its first statement
    executor = MigrationExecutor(database._client, {"users": app_config("users", database.dialect)})
    await executor.migrate([MigrationTarget(app_label="users", name="0001_initial")], direction="forward")


async def test_users_of_the_first_release_are_kept(database: Database) -> None:
    await to_first(database)
    for statement in (USER, DEVICE):
        await database.query(statement, [database.db_time(MOMENT)])
    await database.migrate()
    ann = await UserRepository(database).get("usr_1")
    assert (ann.email, ann.locale, ann.created_at, ann.preferences) == (
        "Ann@example.com",
        "pt-BR",
        MOMENT,
        Preferences(),
    )
    assert [device.id for device in ann.devices] == ["dev_1"]


async def test_migrating_again_changes_nothing(database: Database) -> None:
    await database.migrate()
    await database.query(USER, [database.db_time(MOMENT)])
    await database.migrate()
    assert (await UserRepository(database).get("usr_1")).created_at == MOMENT


async def test_no_table_and_no_column_lacks_its_migration(database: Database) -> None:
    apps = database._context.apps
    assert apps is not None
    detector = MigrationAutodetector(apps, {"users": app_config("users", database.dialect)})
    operations = [operation for writer in await detector.changes() for operation in writer.operations]
    lacking = [each for each in operations if isinstance(each, AddField | RemoveField | CreateModel | DeleteModel)]
    assert [operation.describe() for operation in lacking] == []
