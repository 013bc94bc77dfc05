"""Pub/sub through Redis for `broadcaster`, by a backend that heals itself.

The backend that comes with `broadcaster` is deaf until its second subscriber, falls silent for ever when its
connection drops, and queues without bound. This one subscribes to a fixed set of channels at its start and again after
every reconnection, finds out by PING when nobody is at the other end, and loses the oldest of what it cannot hold.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, TypeVar

from broadcaster import BroadcastBackend, Event
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from domain.concurrency import Tasks, backoff

SOCKET_DEADLINE = 1.0
"""Seconds for one exchange with Redis."""
PUBLISH_DEADLINE = 2.0
"""Seconds for one publish, a reconnection included."""
SILENCE = 1.0
"""Seconds without a message after which we ask whether Redis is still there; the answer gets as long again."""
FIRST_RETRY, LAST_RETRY = 0.1, 1.0

_LOOK: Any = b""  # `Event` says str; it carries what it is given
_AWAY = (RedisError, OSError, TimeoutError)

Item = TypeVar("Item")

log = logging.getLogger(__name__)


def put_losing_oldest(queue: asyncio.Queue[Item], item: Item) -> None:
    """Put without waiting; a full queue loses its oldest item."""
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(item)


class ReconnectingRedis(BroadcastBackend):
    """A `broadcaster` backend on one Redis. Publishes and delivers bytes as they are.

    After every (re)connection each channel delivers an empty payload: something may have been missed.
    """

    def __init__(self, url: str, channels: Sequence[str], buffer: int) -> None:
        """`url` is `redis://` or `rediss://`; raises ValueError for one that cannot be read. Opens nothing."""
        self._url = url
        self._publisher = self._client(retries=1)  # a connection that died while idle costs one retry, not a ring
        self._names = {channel: self._name(channel) for channel in channels}
        self._channels = {name.encode(): channel for channel, name in self._names.items()}
        self._incoming: asyncio.Queue[Event] = asyncio.Queue(buffer)
        self._tasks = Tasks()
        self._connected = False
        self._open = False

    @property
    def connected(self) -> bool:
        """Whether we are subscribed now."""
        return self._connected

    async def connect(self) -> None:
        """Begin to look for Redis; returns at once."""
        self._open = True
        _ = self._tasks.supervise("feed: Redis", self._stay_subscribed)

    async def disconnect(self) -> None:
        """Stop and let go of the connections."""
        self._open = False
        await self._tasks.cancel()
        await self._publisher.aclose()

    async def subscribe(self, group: str) -> None:
        """Nothing to do: the channels are fixed."""

    async def unsubscribe(self, group: str) -> None:
        """Nothing to do: the channels are fixed."""

    async def publish(self, channel: str, message: Any) -> None:
        """Publish within a deadline. Best effort: while Redis is away the message is lost, and nothing is raised."""
        try:
            async with asyncio.timeout(PUBLISH_DEADLINE):
                await self._publisher.publish(self._name(channel), message)
        except _AWAY as error:
            log.debug("a ring on %s was lost: %r", channel, error)

    async def next_published(self) -> Event:
        """The next message on any of the channels."""
        return await self._incoming.get()

    def _client(self, retries: int = 0) -> Redis:
        return Redis.from_url(
            self._url,
            protocol=2,
            socket_timeout=SOCKET_DEADLINE,
            socket_connect_timeout=SOCKET_DEADLINE,
            retry=Retry(NoBackoff(), retries),
        )

    def _name(self, channel: str) -> str:
        """The channel's name in Redis. Pub/sub spans all databases of a server: ours keeps to its own."""
        database = self._publisher.connection_pool.connection_kwargs.get("db") or 0
        return f"{channel}@{database}" if database else channel

    # On Python 3.11 redis-py can swallow a cancellation (`asyncio.wait_for` does, when what it waits for is done at the
    # same moment). So the loops below also ask whether they are still wanted.

    async def _stay_subscribed(self) -> None:
        while self._open:
            async for attempt in backoff(FIRST_RETRY, LAST_RETRY):
                if await self._session(attempt) or not self._open:
                    break
            await asyncio.sleep(FIRST_RETRY)  # a server that drops us again and again must not make us spin

    async def _session(self, attempt: int) -> bool:
        """The life of one connection. Whether there was one."""
        try:
            await self._hear()
        except _AWAY as error:
            if self._connected or attempt == 1:
                log.warning("Redis is away, looking for it; the feed goes by polling: %r", error)
        finally:
            connected, self._connected = self._connected, False
        return connected

    async def _hear(self) -> None:
        """Subscribe and pass on what comes, until the connection fails."""
        async with self._client() as client, client.pubsub() as pubsub:
            await pubsub.subscribe(*self._names.values())
            asked = False
            while self._open:
                message = await pubsub.get_message(timeout=SILENCE)
                if message is not None:
                    asked = False
                    self._take(message)
                elif asked:
                    raise TimeoutError("no answer to PING")
                else:
                    asked = True
                    await pubsub.ping()

    def _take(self, message: dict[str, Any]) -> None:
        channel = self._channels.get(message["channel"])
        if channel is None:  # the answer to a PING
            return
        if message["type"] == "subscribe":
            self._note_subscribed()
            put_losing_oldest(self._incoming, Event(channel, _LOOK))
        elif message["type"] == "message":
            put_losing_oldest(self._incoming, Event(channel, message["data"]))

    def _note_subscribed(self) -> None:
        if not self._connected:
            log.info("subscribed to Redis")
        self._connected = True
