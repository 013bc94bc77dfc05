"""The bell: pub/sub between processes, through the `broadcaster` package.

`memory://` rings within one process, `redis://` in all processes on the same Redis database.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from broadcaster import Broadcast

from domain.concurrency import Tasks
from domain.errors import ConfigurationError
from workers.bell_redis import ReconnectingRedis, put_losing_oldest

BUFFER = 1024
"""How many payloads wait at most: to be sent, and for each listener."""


class BroadcastBell:
    """A `domain.ports.Bell`. To be connected once and closed once, on one event loop.

    With `memory://` the rings of one object reach the listeners of that object. `channels` are all that can be
    listened to; they are subscribed when connecting, whether somebody listens or not.
    """

    def __init__(self, url: str, channels: Sequence[str], *, buffer: int = BUFFER) -> None:
        """`url` is `memory://`, `redis://` or `rediss://`; raises `ConfigurationError` for any other. Opens nothing."""
        self._redis = _redis(url, channels, buffer)
        self._broadcast = Broadcast(url) if self._redis is None else Broadcast(backend=self._redis)
        self._listeners: dict[str, set[_Listener]] = {channel: set() for channel in channels}
        self._outgoing: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(buffer)
        self._buffer = buffer
        self._tasks = Tasks()
        self._open = False

    @property
    def available(self) -> bool:
        """Whether rings are heard now."""
        return self._open and (self._redis is None or self._redis.connected)

    async def connect(self) -> None:
        """Start. Returns at once even when Redis is away; it is found later."""
        self._open = True
        await self._broadcast.connect()
        for channel in self._listeners:
            _ = self._tasks.supervise(f"bell: {channel}", partial(self._hand_out, channel))
        _ = self._tasks.supervise("bell: rings", self._send)
        if self._redis is None:  # as Redis does once it is connected
            for listener in self._all_listeners():
                listener.offer(b"")

    async def close(self) -> None:
        """Stop; listeners end, and rings that were not sent yet are lost. May be called twice."""
        if not self._open:
            return
        self._open = False
        await self._tasks.cancel()
        await self._broadcast.disconnect()
        await asyncio.sleep(0)  # `disconnect` cancels a task and does not wait for its end
        for listener in self._all_listeners():
            listener.end()

    def ring(self, channel: str, payload: bytes = b"") -> None:
        """Tell everybody, this process included. Never waits, never raises; too many at once lose the oldest."""
        put_losing_oldest(self._outgoing, (channel, payload))

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """What is rung from now on, and an empty payload after every (re)connection. Raises KeyError for a channel
        that the bell was not made with. A listener that is slow loses the oldest; `close` ends it."""
        listener = _Listener(self._buffer)
        self._listeners[channel].add(listener)
        try:
            yield listener
        finally:
            self._listeners[channel].discard(listener)

    async def _send(self) -> None:
        while self._open:  # a publish can swallow the cancellation: see `bell_redis`
            channel, payload = await self._outgoing.get()
            await self._broadcast.publish(channel, payload)

    async def _hand_out(self, channel: str) -> None:
        """Pass on what `broadcaster` delivers. Never waits in between, so that its own queues stay short."""
        async with self._broadcast.subscribe(channel) as subscriber:
            while True:
                payload: Any = (await subscriber.get()).message  # says str, carries our bytes
                for listener in self._listeners[channel]:
                    listener.offer(payload)

    def _all_listeners(self) -> list["_Listener"]:
        return [listener for listeners in self._listeners.values() for listener in listeners]


class _Listener(AsyncIterator[bytes]):
    """What one listener has not heard yet. Cancelling a wait loses nothing."""

    def __init__(self, buffer: int) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(buffer)

    def offer(self, payload: bytes) -> None:
        put_losing_oldest(self._queue, payload)

    def end(self) -> None:
        put_losing_oldest(self._queue, None)

    async def __anext__(self) -> bytes:
        payload = await self._queue.get()
        if payload is None:
            self.end()  # for whoever asks again
            raise StopAsyncIteration
        return payload


def _redis(url: str, channels: Sequence[str], buffer: int) -> ReconnectingRedis | None:
    """The backend for `url`; None: memory. The URL may hold a password, so it is in no message."""
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return None
    if scheme not in ("redis", "rediss"):
        raise ConfigurationError(f"HELIOGRAPH_FEED_URL begins with memory://, redis:// or rediss://, not {scheme!r}.")
    try:
        return ReconnectingRedis(url, channels, buffer)
    except ValueError as error:
        raise ConfigurationError("HELIOGRAPH_FEED_URL is no Redis URL that can be read.") from error
