"""Tortoise's migrations, run inside one transaction of ours: all of them or none, and one process at a time."""

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.migrations.executor import MigrationExecutor, MigrationTarget

from api.database_urls import Dialect, app_config


async def apply_migrations(name: str, dialect: Dialect, client: BaseDBAsyncClient) -> None:
    """Apply what is missing of `api/<name>/migrations`, with the client of a transaction that is under way."""
    executor = MigrationExecutor(client, {name: app_config(name, dialect)})
    # The executor looks at its own table before it makes it, which would abort the transaction.
    await executor.recorder.ensure_schema(_WithinTransaction(executor))
    setattr(executor.recorder, "ensure_schema", _nothing)  # noqa: B010 - once is enough
    await executor.migrate([MigrationTarget(app_label=name, name="__latest__")], direction="forward")


class _WithinTransaction:
    """The part of a schema editor that makes the migrations' own table, without SQLite's implicit commit."""

    def __init__(self, executor: MigrationExecutor) -> None:
        editor = executor._schema_editor(atomic=True)
        self.DIALECT = editor.DIALECT
        self._get_model_sql_data = editor._get_model_sql_data
        self.execute_script = editor._run_sql

    @property
    def client(self) -> "_WithinTransaction":
        return self


async def _nothing(_: object) -> None:
    return None
