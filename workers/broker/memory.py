"""A broker in process, with RabbitMQ's semantics: for the embedded default and for tests.

It lives and dies with its process, which costs nothing but time: the database rows drive everything again.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Self

from domain.errors import BrokerUnavailable
from domain.ports import Message, Publication, QueueDepth, Received
from workers.broker import topology


class MemoryBroker:
    """`domain.ports.Broker` without a server. One event loop; what is published is visible to this object only."""

    def __init__(self, *, max_length: int = topology.MAX_LENGTH) -> None:
        self._queues = {spec.name: _Queue(spec, max_length, self._dead_letter) for spec in topology.QUEUES}
        self._callbacks: list[Callable[[], None]] = []
        self._connected = False

    async def connect(self) -> None:
        """Open for business. May be called again after `close`: the queues are as they were left."""
        if self._connected:
            return
        self._connected = True
        for callback in self._callbacks:
            callback()

    async def close(self) -> None:
        """Ends all consumers; what they had not settled goes back to the queues. May be called twice."""
        self._connected = False
        for queue in self._queues.values():
            queue.dismiss()

    async def publish(self, publications: Sequence[Publication], deadline: float = 10.0) -> None:
        """As the port says; never takes longer than a turn of the loop."""
        self._require_connection()
        problems = [problem for publication in publications if (problem := self._accept(publication))]
        # A real broker is never this fast: without a pause a publisher in a loop would starve everybody else.
        await asyncio.sleep(0)
        if problems:
            raise BrokerUnavailable(problems[0])

    @asynccontextmanager
    async def consume(self, queue: str, prefetch: int) -> AsyncIterator[AsyncIterator[Received]]:
        """As the port says."""
        source = self._queue(queue)
        consumer = _Consumer(source, prefetch)
        source.admit(consumer)
        try:
            yield consumer
        finally:
            source.release(consumer)

    async def depth(self, queue: str) -> QueueDepth:
        """As the port says: messages that no consumer holds."""
        self._require_connection()
        return self._queue(queue).depth

    def on_connected(self, callback: Callable[[], None]) -> None:
        """As the port says."""
        self._callbacks.append(callback)

    @property
    def available(self) -> bool:
        """Whether `connect` was called, and not `close` since."""
        return self._connected

    def _require_connection(self) -> None:
        if not self._connected:
            raise BrokerUnavailable("The broker is not connected.")

    def _queue(self, name: str) -> "_Queue":
        try:
            return self._queues[name]
        except KeyError:
            raise BrokerUnavailable(f"There is no queue {name!r}.") from None

    def _accept(self, publication: Publication) -> str | None:
        """Put it where it goes; what is wrong with it if it goes nowhere."""
        targets = topology.route(publication.exchange, publication.routing_key)
        if not targets:
            return f"Nothing is bound to {publication.exchange!r} with the key {publication.routing_key!r}."
        for name in targets:
            if self._queues[name].full:
                return f"The queue {name!r} is full."
            self._queues[name].put(_Stored(publication.message))
        return None

    def _dead_letter(self, message: Message, queue: str, reason: str) -> None:
        """Past every bound: it was in a queue before, so there is not more of it now."""
        publication = topology.rejected(message, queue, reason)
        for name in topology.route(publication.exchange, publication.routing_key):
            self._queues[name].put(_Stored(publication.message))


class _Stored:
    """A message in a queue, and how often it came back."""

    __slots__ = ("message", "returns")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.returns = 0


class _Queue:
    """One queue: messages that wait, and consumers that take turns."""

    def __init__(self, spec: topology.Queue, max_length: int, dead_letter: Callable[[Message, str, str], None]) -> None:
        self.name = spec.name
        self.dead_letter = dead_letter
        self._spec = spec
        self._max_length = max_length
        self._ready: deque[_Stored] = deque()
        self._consumers: deque[_Consumer] = deque()
        self._scheduled = False

    @property
    def full(self) -> bool:
        return len(self._ready) >= self._max_length

    @property
    def depth(self) -> QueueDepth:
        # As in RabbitMQ, those that only stand by do not count.
        consumers = bool(self._consumers) if self._spec.single_active_consumer else len(self._consumers)
        return QueueDepth(messages=len(self._ready), consumers=int(consumers))

    def put(self, stored: _Stored) -> None:
        self._ready.append(stored)
        self.schedule()

    def put_back(self, returned: Iterable[_Stored]) -> None:
        """To the front and in order, as if they had never left; those that came back too often are dead letters."""
        kept = []
        for stored in returned:
            stored.returns += 1
            if self._spec.dead_letters and stored.returns > self._spec.delivery_limit:
                self.dead_letter(stored.message, self.name, topology.OVER_DELIVERED)
            else:
                kept.append(stored)
        self._ready.extendleft(reversed(kept))
        self.schedule()

    def admit(self, consumer: "_Consumer") -> None:
        self._consumers.append(consumer)
        self.schedule()

    def release(self, consumer: "_Consumer") -> None:
        """Let a consumer go, with all that it had not settled. Harmless when it is gone already."""
        if consumer in self._consumers:
            self._consumers.remove(consumer)
            self.put_back(consumer.end())

    def dismiss(self) -> None:
        """Let all consumers go. The last one first, so that what the first one holds ends up in front."""
        for consumer in reversed(list(self._consumers)):
            self.release(consumer)

    def schedule(self) -> None:
        """Hand out in the next turn of the loop: a consumer that never waits must not keep others from running."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._hand_out)

    def _hand_out(self) -> None:
        self._scheduled = False
        while self._ready and (consumer := self._next_free()):
            consumer.take(self._ready.popleft())

    def _next_free(self) -> "_Consumer | None":
        if self._spec.single_active_consumer:
            return next((consumer for consumer in list(self._consumers)[:1] if consumer.has_room), None)
        for _ in range(len(self._consumers)):
            self._consumers.rotate(-1)
            if self._consumers[-1].has_room:
                return self._consumers[-1]
        return None


class _Consumer(AsyncIterator[Received]):
    """One consumer: at most `prefetch` messages that are not settled, the buffered ones included."""

    def __init__(self, queue: _Queue, prefetch: int) -> None:
        self.queue = queue
        self._prefetch = prefetch
        self._unsettled: dict[_Delivery, _Stored] = {}
        self._buffer: asyncio.Queue[_Delivery | None] = asyncio.Queue()  # bounded by `has_room`

    @property
    def has_room(self) -> bool:
        return len(self._unsettled) < self._prefetch

    def take(self, stored: _Stored) -> None:
        delivery = _Delivery(self, stored)
        self._unsettled[delivery] = stored
        self._buffer.put_nowait(delivery)

    def settle(self, delivery: "_Delivery") -> _Stored | None:
        """Make room; None when it was settled before, or went back to the queue."""
        stored = self._unsettled.pop(delivery, None)
        if stored is not None:
            self.queue.schedule()
        return stored

    def end(self) -> list[_Stored]:
        """Nothing more is handed out; what was not settled, in order."""
        unsettled, self._unsettled = list(self._unsettled.values()), {}
        self._buffer.put_nowait(None)
        return unsettled

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        while (delivery := await self._buffer.get()) is not None:
            if delivery in self._unsettled:
                return delivery
        self._buffer.put_nowait(None)  # it stays at the end, however often it is asked
        raise StopAsyncIteration


class _Delivery:
    """`domain.ports.Received`."""

    def __init__(self, consumer: _Consumer, stored: _Stored) -> None:
        self._consumer = consumer
        self.message = stored.message
        self.redelivered = stored.returns > 0

    async def ack(self) -> None:
        self._consumer.settle(self)

    async def requeue(self) -> None:
        if stored := self._consumer.settle(self):
            self._consumer.queue.put_back([stored])

    async def reject(self, reason: str) -> None:
        if stored := self._consumer.settle(self):
            self._consumer.queue.dead_letter(stored.message, self._consumer.queue.name, reason)
