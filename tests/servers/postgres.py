"""PostgreSQL for tests: a private one, or the one named in the environment."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tests.servers.install import POSTGRESQL, programs
from tests.servers.ports import free_ports
from tests.servers.process import ServerError, ServerProcess

_USER = "heliograph"


class Postgres(ABC):
    """A PostgreSQL to make databases in, wherever it runs."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The maintenance database."""

    def create_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        self.execute(f'CREATE DATABASE "{name}"')
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        """Run one statement in the maintenance database."""

        async def run() -> None:
            connection = await asyncpg.connect(self.url)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        # In a thread of its own: the caller's may be running an event loop already.
        with ThreadPoolExecutor(max_workers=1) as thread:
            thread.submit(asyncio.run, run()).result()


class NamedPostgres(Postgres):
    """The server at `url`; its user must be allowed to create databases."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def url(self) -> str:
        return self._url


class PostgresServer(ServerProcess, Postgres):
    """A private server. Without `fsync` it is fast, and its data still survives `kill` (though not a power cut)."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": open connections do not hold it up

    def __init__(self, *, fsync: bool = False) -> None:
        super().__init__()
        [self.port] = free_ports(1)
        self.data = self.directory / "data"
        self._fsync = fsync

    @property
    def url(self) -> str:
        return f"postgres://{_USER}@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> None:
        if self.data.exists():
            return
        account = self.account()
        if account is not None:
            shutil.chown(self.directory, account)
        initdb = [str(programs(POSTGRESQL)["initdb"]), "--pgdata", str(self.data), "--username", _USER]
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        groups: list[str] | None = None if account is None else []
        made = subprocess.run(
            [*initdb, *options],
            cwd=self.directory, user=account, group=account, extra_groups=groups,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if made.returncode != 0:
            raise ServerError(f"initdb failed: {made.stderr}")

    def command(self) -> list[str]:
        durable = "on" if self._fsync else "off"
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 300,
            # Commits reach the operating system at once either way (synchronous_commit stays on), so a kill loses none.
            "fsync": durable,
            "full_page_writes": durable,
            # In the data directory rather than /dev/shm, so that nothing is left there after a kill.
            "dynamic_shared_memory_type": "mmap",
            "log_line_prefix": "%m [%p] %d ",
        }
        pairs = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [str(programs(POSTGRESQL)["postgres"]), "-D", str(self.data), *pairs]

    def is_ready(self) -> bool:
        # What pg_ctl looks at: the first line is the process, the eighth its state. A killed server leaves the file.
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def account(self) -> str | None:
        # PostgreSQL refuses to run as root.
        return _unprivileged() if os.geteuid() == 0 else None

    def close(self) -> None:
        self.stop()  # a killed server leaves its System V shared memory behind
        super().close()


def _unprivileged() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def postgres_from(environment: dict[str, str]) -> NamedPostgres | PostgresServer:
    """The server that `environment` names, else a private one, not yet started."""
    url = environment.get(POSTGRESQL.variable)
    return NamedPostgres(url) if url else PostgresServer()
