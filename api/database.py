"""The one place that opens databases: connections, statements, transactions, migrations, and what their errors mean.

SQL is written once, with `$1`, `$2`, … as placeholders, for PostgreSQL and SQLite alike. Inside `unit` the models of a
service's `tables.py` use the transaction by themselves.
"""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

from tortoise.backends.base.client import BaseDBAsyncClient, TransactionalDBClient, TransactionContext
from tortoise.backends.sqlite.client import SqliteClient
from tortoise.context import TortoiseContext, set_global_context
from tortoise.exceptions import ConfigurationError as TortoiseConfigurationError
from tortoise.exceptions import IntegrityError, OperationalError
from tortoise.transactions import in_transaction

from api.database_errors import Collision, translated
from api.database_urls import Dialect, alias, app_config, connection_config, dialect_of
from api.migrating import apply_migrations
from domain.concurrency import backoff, shielded
from domain.errors import DatabaseUnavailable

__all__ = [
    "Collision",
    "Database",
    "Databases",
    "IntegrityError",
    "OperationalError",
    "Tx",
    "among",
    "listed",
    "parse_time",
]

Row = dict[str, Any]
T = TypeVar("T")

_MIGRATION_LOCK = 0x48454C494F  # any number that only Heliograph uses
_PLACEHOLDER = re.compile(r"\$(\d+)")

log = logging.getLogger(__name__)


def parse_time(value: str | datetime) -> datetime:
    """A time as either engine returns it, aware, in UTC."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def among(dialect: Dialect, column: str, placeholder: str) -> str:
    """SQL for "this column has one of these values"; give the values as one parameter, made by `listed`."""
    if dialect == "postgres":
        return f"{column} = any({placeholder})"
    return f"{column} in (select value from json_each({placeholder}))"


def listed(dialect: Dialect, values: Iterable[str]) -> list[str] | str:
    """A list of texts as one parameter, for `among`."""
    return list(values) if dialect == "postgres" else json.dumps(list(values))


class Tx:
    """A transaction under way. Ends with the unit of work that it was handed to."""

    def __init__(self, name: str, dialect: Dialect, client: BaseDBAsyncClient) -> None:
        self.dialect: Dialect = dialect
        self._name, self._client = name, client

    async def query(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """The rows that a statement returns; none unless it is a SELECT or has RETURNING."""
        with translated(self._name):
            return await self._client.execute_query_dict(_for(self.dialect, sql), list(params))

    async def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """The same statement for many rows of parameters, in one go."""
        if rows:
            with translated(self._name):
                await self._client.execute_many(_for(self.dialect, sql), [list(row) for row in rows])


class Database:
    """One service's database. All of its calls have a deadline and fail with `DatabaseUnavailable` when it is away.

    `IntegrityError` (a constraint) and `OperationalError` (SQL or data that the database refuses) are bugs or the
    caller's business and come through as they are. Do not call it inside one of its own units: use the `Tx`.
    """

    def __init__(self, name: str, dialect: Dialect, context: TortoiseContext, size: int, patience: float) -> None:
        self.name = name
        self.dialect: Dialect = dialect
        self._context, self._alias = context, alias(name, dialect)
        self._clients = context.connections._copy_storage()
        self._size, self._patience = size, patience
        # The pool itself waits for ever for a free connection; so nobody asks it for one that is not free.
        self._slots = asyncio.Semaphore(size)
        self._closed = False

    def db_time(self, moment: datetime) -> datetime | str:
        """A time as a parameter: SQLite stores text that sorts by time, as the models write it too."""
        if self.dialect == "postgres":
            return moment
        return moment.astimezone(UTC).isoformat(" ", "microseconds")

    async def query(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """Run one statement by itself and answer its rows; committed when it returns."""
        await self._take_slot()
        try:
            with translated(self.name):
                await _connect_sqlite(self._client)
                return await self._client.execute_query_dict(_for(self.dialect, sql), list(params))
        finally:
            self._slots.release()

    async def unit(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run `work` in a transaction: committed when it returns, rolled back when it raises.

        A caller that is cancelled does not cancel it: a transaction cut off half-way would keep its connection for
        ever. `Collision` says that it was rolled back in favour of another one and may be run again.
        """
        await self._take_slot()
        return await shielded(self._transaction(work))

    async def ping(self) -> None:
        """Raises `DatabaseUnavailable` unless the database answers."""
        await self.query("select 1")

    async def migrate(self) -> None:
        """Bring the tables up to date; waits with back-off for a database that is away. May run in many processes."""
        async for attempt in backoff():
            try:
                await self.unit(self._migrate)
            except DatabaseUnavailable as error:
                log.warning("waiting for the %s database (attempt %d): %s", self.name, attempt, error)
            else:
                return

    async def drain(self) -> None:
        """Refuse new work and wait for what is under way, for at most the time a caller would wait."""
        if self._closed:
            return
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                for _ in range(self._size):
                    await self._slots.acquire()

    async def _take_slot(self) -> None:
        if self._closed:
            raise DatabaseUnavailable(f"The {self.name} database is closed.")
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._slots.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable(f"The {self.name} database is busy: no connection became free.") from error

    @property
    def _client(self) -> BaseDBAsyncClient:
        return self._clients[self._alias]

    async def _transaction(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        try:
            # This task is ours alone, so the context is entered for it and never left; and whatever transaction the
            # caller is in, this one is another.
            self._context.__enter__()
            self._context.connections._set_storage(dict(self._clients))
            transaction = in_transaction(self._alias)
            with translated(self.name):
                await _connect_sqlite(self._client)
                client = await _begin(transaction)
            try:
                result = await work(Tx(self.name, self.dialect, client))
                with translated(self.name):
                    await client.commit()
            except BaseException as error:
                await self._roll_back(transaction, error)
                raise
            await transaction.__aexit__(None, None, None)  # committed already: gives the connection back
            return result
        finally:
            self._slots.release()

    async def _roll_back(self, transaction: TransactionContext, error: BaseException) -> None:
        try:
            await transaction.__aexit__(type(error), error, error.__traceback__)
        except Exception as failure:
            log.debug("rolling back on the %s database failed: %r", self.name, failure)

    async def _migrate(self, tx: Tx) -> None:
        if self.dialect == "postgres":
            # Concurrent migrations crash each other; the lock goes with the transaction.
            await tx.query(f"select pg_advisory_xact_lock({_MIGRATION_LOCK})")
        await apply_migrations(self.name, self.dialect, self._context.connections.get(self._alias))


class Databases:
    """The databases of this process. `databases["gateway"]` is one of them."""

    def __init__(self, context: TortoiseContext, databases: Mapping[str, Database]) -> None:
        self._context, self._databases = context, dict(databases)

    @classmethod
    async def open(
        cls,
        urls: Mapping[str, str],
        *,
        pool_size: int = 20,
        command_timeout: float = 30.0,
        patience: float = 10.0,
    ) -> "Databases":
        """Prepare connections to databases, by service name; nothing is contacted before the first statement.

        URLs are `sqlite://path` (its options in the query string are pragmas) and `postgres://user:pass@host:port/db`.
        `command_timeout` bounds each statement and `patience` the wait for a free connection, in seconds. Raises
        `ConfigurationError`. What one process opens together shares one Tortoise context; several may be open at once,
        but models used outside `unit` belong to the one opened first.
        """
        dialects = {name: dialect_of(name, url) for name, url in urls.items()}
        config = {
            "connections": {
                alias(name, dialects[name]): connection_config(name, url, pool_size, command_timeout)
                for name, url in urls.items()
            },
            "apps": {name: app_config(name, dialect) for name, dialect in dialects.items()},
        }
        context = TortoiseContext()
        with context:
            await context.init(config=config)
        with suppress(TortoiseConfigurationError):
            set_global_context(context)
        sizes = {"sqlite": 1, "postgres": pool_size}
        return cls(
            context,
            {name: Database(name, kind, context, sizes[kind], patience) for name, kind in dialects.items()},
        )

    def __getitem__(self, name: str) -> Database:
        return self._databases[name]

    async def migrate(self) -> None:
        """Bring the tables of all of them up to date. May be called again."""
        for database in self._databases.values():
            await database.migrate()

    async def close(self) -> None:
        """Let what is under way finish, then disconnect. May be called twice."""
        await asyncio.gather(*(database.drain() for database in self._databases.values()))
        with self._context:
            await self._context.close_connections()


async def _connect_sqlite(client: BaseDBAsyncClient) -> None:
    # Left to itself, Tortoise keeps its lock for ever when the file cannot be opened.
    if isinstance(client, SqliteClient) and client._connection is None:
        try:
            await client.create_connection(with_db=True)
        except BaseException:
            await client.close()
            raise


async def _begin(transaction: TransactionContext) -> TransactionalDBClient:
    try:
        return await transaction.__aenter__()
    except BaseException:
        # Tortoise keeps the connection (or SQLite's lock) when the transaction could not even begin.
        client = getattr(transaction, "client", None)
        lock = getattr(transaction, "_trxlock", None)
        if client is not None and client._connection is not None and client._parent._pool is not None:
            await client._parent._pool.release(client._connection)
        if lock is not None and lock.locked():
            lock.release()
        raise


@lru_cache(maxsize=1024)
def _for(dialect: Dialect, sql: str) -> str:
    return sql if dialect == "postgres" else _PLACEHOLDER.sub(r"?\1", sql)
