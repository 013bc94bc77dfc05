"""SQLite in memory, with the tables of the real migrations, for coroutines that never wait.

The statements run as they are; only the clock is ours: `strftime` always says `NOW`. What has to be earlier or later
is written to the rows.
"""

import re
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from api.database import Database, Databases, Tx
from api.database_urls import Dialect

NOW = datetime(2030, 1, 1, tzinfo=UTC)

T = TypeVar("T")
Row = dict[str, Any]

_PLACEHOLDER = re.compile(r"\$(\d+)")


async def migrated_tables(folder: Path) -> str:
    """The gateway database as the migrations leave it, as a script."""
    path = folder / "model.db"
    databases = await Databases.open({"gateway": f"sqlite://{path}"})
    await databases.migrate()
    await databases.close()
    with sqlite3.connect(path) as connection:
        return "\n".join(connection.iterdump())


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration as stop:
        return cast(T, stop.value)
    work.close()
    raise AssertionError("it waits for something that the model does not have")


class ModelDatabase:
    """Stands for `api.database.Database` and for its `Tx`."""

    dialect: Dialect = "sqlite"

    def __init__(self, tables: str) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.create_function("strftime", -1, _strftime)
        self._connection.executescript(tables)
        self.answers: dict[str, list[Row]] = {}
        """What is answered to a statement instead of running it."""

    @property
    def as_real(self) -> Database:
        """This, where the real one is asked for."""
        return cast(Database, self)

    def ask(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """Run one statement."""
        if sql in self.answers:
            return self.answers[sql]
        return [dict(row) for row in self._connection.execute(_numbered(sql), list(params))]

    async def query(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        return self.ask(sql, params)

    async def unit(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        return await work(cast(Tx, self))

    def undone(self, act: Callable[[], T]) -> T:
        """What `act` answers; whatever it wrote is undone."""
        self._connection.execute("BEGIN")
        try:
            return act()
        finally:
            self._connection.execute("ROLLBACK")


@cache
def _numbered(sql: str) -> str:
    return _PLACEHOLDER.sub(r"?\1", sql)


def _strftime(form: str, base: str, *modifiers: str) -> str:
    """As SQLite writes it, for the only form that the statements ask for."""
    assert (form, base) == ("%Y-%m-%d %H:%M:%f", "now"), "the model's clock knows no other form"
    moment = NOW + sum((timedelta(seconds=float(each.removesuffix(" seconds"))) for each in modifiers), timedelta())
    return moment.isoformat(" ", "milliseconds").removesuffix("+00:00")
