"""Where PostgreSQL and SQLite differ in the gateway's own SQL.

A set of rows travels as ONE parameter, a JSON array, and becomes a table inside the statement; so a batch is one
statement on both engines and its text does not depend on its size. Times are compared by the database's own clock.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec


class Dialect(Protocol):
    """What the statements are built from."""

    now: str
    """The database's clock as an expression."""
    for_update: str
    """Appended to a select: lock the rows, wait for other holders."""
    skip_locked: str
    """Appended to a select: lock the rows, leave out those that others hold."""
    writable_cte: bool
    """Whether a common table expression may write, so that several writes are one statement."""
    materialized: str
    """Makes a common table expression run once, before what uses it."""

    def recordset(self, parameter: str, columns: Mapping[str, str]) -> str:
        """A JSON array of objects as a table; `columns` maps names to types."""

    def after(self, seconds: str) -> str:
        """The clock plus an expression in seconds."""

    def power_of_two(self, exponent: str) -> str:
        """2 to the power of a small whole number."""


class PostgresDialect:
    """PostgreSQL 13 or newer."""

    now = "now()"
    writable_cte = True
    for_update = "FOR UPDATE"
    skip_locked = "FOR UPDATE SKIP LOCKED"
    materialized = "MATERIALIZED"

    def recordset(self, parameter: str, columns: Mapping[str, str]) -> str:
        listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        return f"(SELECT * FROM jsonb_to_recordset({parameter}::jsonb) AS item({listed}))"

    def after(self, seconds: str) -> str:
        return f"now() + make_interval(secs => {seconds})"

    def power_of_two(self, exponent: str) -> str:
        return f"(1 << {exponent})"


class SqliteDialect:
    """SQLite 3.35 or newer, one process, one connection: it needs no row locks."""

    # As `stamp` writes it: the clock counts milliseconds, and texts compare only if they have one width.
    now = "(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000+00:00')"
    writable_cte = False
    for_update = ""
    skip_locked = ""
    materialized = ""

    def recordset(self, parameter: str, columns: Mapping[str, str]) -> str:
        listed = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in columns)
        return f"(SELECT {listed} FROM json_each({parameter}))"

    def after(self, seconds: str) -> str:
        return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', ({seconds}) || ' seconds') || '000+00:00')"

    def power_of_two(self, exponent: str) -> str:
        return f"(1 << {exponent})"


def dialect_of(name: str) -> Dialect:
    """The dialect for `Database.dialect`."""
    return PostgresDialect() if name == "postgres" else SqliteDialect()


def as_set(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as the one parameter of a statement. Times must be `stamp`s."""
    return msgspec.json.encode(list(rows)).decode()


def stamp(moment: datetime | None) -> str | None:
    """A time as both engines compare it: UTC, fixed width, microseconds."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00:00")
