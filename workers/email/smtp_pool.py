"""A bounded pool of connections to one mail server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from workers.email.smtp_connection import Connection

_FAREWELL = 1.0  # seconds that closing waits for the last bytes to leave


class ConnectionPool:
    """At most `size` connections, each for up to `max_messages` mails and `max_age` seconds; opened when needed.

    The connection used last is used next, so that under light load the others age out. Idle ones are closed when
    their time is up, not when somebody stumbles over them.
    """

    def __init__(
        self, open_connection: Callable[[], Awaitable[Connection]], *, size: int, max_messages: int, max_age: float
    ) -> None:
        self._open = open_connection
        self._max_messages = max_messages
        self._max_age = max_age
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False

    @asynccontextmanager
    async def lease(self, *, fresh: bool = False) -> AsyncIterator[Connection]:
        """A connection for one mail; waits for a free place, and opens one if none is idle (or if it must be fresh).

        Whoever has it sets `clean` to False before the first command and to True after the last reply: otherwise it
        is thrown away. Raises `ConnectError`.
        """
        async with self._slots:
            connection = (None if fresh else self._warm()) or await self._open()
            try:
                yield connection
            finally:
                self._take_back(connection)

    async def close(self) -> None:
        """Close what is idle, and the rest as it comes back. May be called twice."""
        self._closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        leaving, self._idle = self._idle, []
        for connection in leaving:
            connection.close()
        if leaving:
            await asyncio.wait([connection.closed for connection in leaving], timeout=_FAREWELL)

    def _warm(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if self._reusable(connection):
                return connection
            connection.close()
        return None

    def _take_back(self, connection: Connection) -> None:
        connection.mails += 1
        if self._closed or not self._reusable(connection):
            connection.close()
            return
        self._idle.append(connection)
        if self._reaper is None:
            self._reaper = asyncio.get_running_loop().call_later(self._max_age, self._reap)

    def _reap(self) -> None:
        """Close the idle connections that are spent. Each waits here for at most twice its age."""
        kept = [connection for connection in self._idle if self._reusable(connection)]
        for connection in self._idle:
            if connection not in kept:
                connection.close()
        self._idle = kept
        loop = asyncio.get_running_loop()
        self._reaper = loop.call_later(self._max_age, self._reap) if kept else None

    def _reusable(self, connection: Connection) -> bool:
        age = asyncio.get_running_loop().time() - connection.opened_at
        return connection.usable and connection.mails < self._max_messages and age < self._max_age
