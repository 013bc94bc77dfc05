"""A gateway that is killed and started again where it was: `heliograph up`, on SQLite."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.servers.roles import API_KEY, Cluster, free_port

JWT_SECRET = "8d0a6f5be1c94372a6b1c0f7d25e9384"
"""What the tokens of the tests' end users are signed with."""
Entry = tuple[int, str, int, str]
"""Of the status log: position, notification, sequence, status."""


class Gateway:
    """One system with one port and one database for all its lives."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._var = folder / "var"
        env = {
            "HELIOGRAPH_VAR_DIR": str(self._var),
            "HELIOGRAPH_API_KEY": API_KEY,
            "HELIOGRAPH_JWT_SECRET": JWT_SECRET,
            "HELIOGRAPH_RETRY_SCHEDULE": "0.3,0.6",
        }
        self._cluster = Cluster(folder, env)

    async def start(self) -> None:
        """Start it; it answers when this returns. Raises `RuntimeError` when it does not."""
        await asyncio.to_thread(self._cluster.add_role("gateway", "up", port=self.port).wait_ready)

    async def kill(self) -> None:
        """SIGKILL."""
        process = self._cluster.processes["gateway"]
        await asyncio.to_thread(process.kill)
        process.stop()  # only its log is left to close

    async def stop(self) -> None:
        """SIGTERM: sockets are closed with 1012. May be called twice."""
        await asyncio.to_thread(self._cluster.stop)

    def log(self, after: int = 0) -> list[Entry]:
        """The status log as it is in the database, from the entry after this position on."""
        query = (
            "SELECT position, notification_id, sequence, status FROM status_log WHERE position > ? ORDER BY position"
        )
        with closing(sqlite3.connect(f"file:{self._var / 'gateway.db'}?mode=ro", uri=True, timeout=10)) as database:
            return database.execute(query, (after,)).fetchall()
