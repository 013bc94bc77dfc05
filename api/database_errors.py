"""What the errors of two database drivers mean to us."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from tortoise.exceptions import DBConnectionError, OperationalError, TransactionManagementError

from domain.errors import ConfigurationError, DatabaseUnavailable

_AWAY = (
    DBConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, cancelled by the administrator
    asyncpg.InsufficientResourcesError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby that is not yet the primary
    asyncpg.InternalClientError,  # out of step: the connection was cut off between two messages
    OSError,  # TimeoutError and ConnectionError are OSErrors
)
_AWAY_IF_IT_SAYS = (
    asyncpg.InterfaceError,
    OperationalError,
    TransactionManagementError,
    sqlite3.OperationalError,
    ValueError,  # aiosqlite
)
_SAYS_AWAY = (
    "is locked",
    "is busy",
    "disk",
    "unable to open",
    "read-only",
    "readonly",
    "closed",
    "closing",
    "released",
    "no active",
)


class Collision(DatabaseUnavailable):
    """Two transactions stood in each other's way and this one was rolled back. Running it again helps."""


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn a driver's error into `DatabaseUnavailable` where it means that the `name` database is away.

    Wrong credentials are a `ConfigurationError`. Everything else passes through.
    """
    try:
        yield
    except asyncpg.TransactionRollbackError as error:
        raise Collision(f"The {name} database rolled a transaction back: {error}") from error
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise ConfigurationError(f"The {name} database refuses its user or password.") from error
    except _AWAY as error:
        raise DatabaseUnavailable(_away(name, error)) from error
    except _AWAY_IF_IT_SAYS as error:
        if any(words in str(error).lower() for words in _SAYS_AWAY):
            raise DatabaseUnavailable(_away(name, error)) from error
        raise


def _away(name: str, error: BaseException) -> str:
    return f"The {name} database does not answer ({type(error).__name__})."
