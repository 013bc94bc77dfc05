"""A broker that counts what goes through it."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from domain.ports import Broker, Message, Publication, QueueDepth, Received
from workers.broker import topology


class Tally(Protocol):
    """Who is told of messages."""

    def published(self, queue: str, count: int) -> None:
        """So many messages are in this queue, confirmed."""

    def settled(self, queue: str, how: str) -> None:
        """A message of this queue was settled: `ack`, `requeue` or `reject`."""


class MeteredBroker:
    """A `domain.ports.Broker` around another one; promises what that one promises."""

    def __init__(self, broker: Broker, tally: Tally) -> None:
        self._broker, self._tally = broker, tally

    async def connect(self) -> None:
        """As the port says."""
        await self._broker.connect()

    async def close(self) -> None:
        """As the port says."""
        await self._broker.close()

    async def publish(self, publications: Sequence[Publication], deadline: float = 10.0) -> None:
        """As the port says; counted once all are confirmed."""
        await self._broker.publish(publications, deadline)
        routes = Counter((each.exchange, each.routing_key) for each in publications)
        for (exchange, key), count in routes.items():
            for queue in topology.route(exchange, key):
                self._tally.published(queue, count)

    @asynccontextmanager
    async def consume(self, queue: str, prefetch: int) -> AsyncIterator[AsyncIterator[Received]]:
        """As the port says."""
        async with self._broker.consume(queue, prefetch) as messages:
            yield _Counting(messages, queue, self._tally)

    async def depth(self, queue: str) -> QueueDepth:
        """As the port says."""
        return await self._broker.depth(queue)

    def on_connected(self, callback: Callable[[], None]) -> None:
        """As the port says."""
        self._broker.on_connected(callback)

    @property
    def available(self) -> bool:
        """As the port says."""
        return self._broker.available


class _Counting(AsyncIterator[Received]):
    """Hands on what comes. No generator: one that is cancelled while it waits would be over."""

    def __init__(self, messages: AsyncIterator[Received], queue: str, tally: Tally) -> None:
        self._messages, self._queue, self._tally = messages, queue, tally

    async def __anext__(self) -> Received:
        return _Counted(await anext(self._messages), self._queue, self._tally)


class _Counted:
    """A message that says how it was settled."""

    __slots__ = ("_queue", "_received", "_tally")

    def __init__(self, received: Received, queue: str, tally: Tally) -> None:
        self._received, self._queue, self._tally = received, queue, tally

    @property
    def message(self) -> Message:
        return self._received.message

    @property
    def redelivered(self) -> bool:
        return self._received.redelivered

    async def ack(self) -> None:
        await self._received.ack()
        self._tally.settled(self._queue, "ack")

    async def requeue(self) -> None:
        await self._received.requeue()
        self._tally.settled(self._queue, "requeue")

    async def reject(self, reason: str) -> None:
        await self._received.reject(reason)
        self._tally.settled(self._queue, "reject")
