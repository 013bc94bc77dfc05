"""What Tortoise must be told about a database, from its URL."""

from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from tortoise.backends.base.config_generator import expand_db_url
from tortoise.exceptions import ConfigurationError as TortoiseConfigurationError

from domain.errors import ConfigurationError

Dialect = Literal["sqlite", "postgres"]

_SCHEMES: dict[str, Dialect] = {"sqlite": "sqlite", "postgres": "postgres", "postgresql": "postgres"}
_CONNECT_SECONDS = 10.0

_SQLITE_PRAGMAS = {
    "journal_mode": "WAL",
    # NORMAL: a commit is in the operating system's hands, so killing any process loses nothing, which is what is
    # promised. Only a power failure can take the last moments along, and it never corrupts the file. FULL adds an
    # fsync to each of the four commits of a notification; ask for it with ?synchronous=FULL in the URL.
    "synchronous": "NORMAL",
    "busy_timeout": "5000",
    "foreign_keys": "ON",
    "cache_size": "-16000",
    "temp_store": "MEMORY",
}


def alias(name: str, dialect: Dialect) -> str:
    """What Tortoise calls the connection."""
    # Tortoise remembers statements by the connection's name for as long as the process lives.
    return f"{name}_{dialect}"


def app_config(name: str, dialect: Dialect) -> dict[str, Any]:
    """What Tortoise must know of a service: its models and its migrations."""
    return {
        "models": [f"api.{name}.tables"],
        "default_connection": alias(name, dialect),
        "migrations": f"api.{name}.migrations",
    }


def dialect_of(name: str, url: str) -> Dialect:
    """Which engine a URL names. Raises `ConfigurationError`."""
    scheme = urlsplit(url).scheme
    if scheme not in _SCHEMES:
        raise ConfigurationError(f"The URL of the {name} database must start with sqlite:// or postgres://.")
    return _SCHEMES[scheme]


def connection_config(name: str, url: str, pool_size: int, command_timeout: float) -> dict[str, Any]:
    """How to connect. Makes the directory of an SQLite file. Raises `ConfigurationError`."""
    try:
        found = expand_db_url(url)
    except (TortoiseConfigurationError, ValueError) as error:
        raise ConfigurationError(f"The URL of the {name} database cannot be read: {error}") from error
    credentials: dict[str, Any] = found["credentials"]
    if dialect_of(name, url) == "sqlite":
        Path(credentials["file_path"]).parent.mkdir(parents=True, exist_ok=True)
        asked = {key: values[-1] for key, values in parse_qs(urlsplit(url).query).items()}
        found["credentials"] = {"file_path": credentials["file_path"], **_SQLITE_PRAGMAS, **asked}
    else:
        defaults = {"maxsize": pool_size, "command_timeout": command_timeout, "timeout": _CONNECT_SECONDS}
        found["credentials"] = {**defaults, "application_name": f"heliograph-{name}", **credentials}
    return found
