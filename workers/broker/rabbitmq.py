"""RabbitMQ (3.10 and later) as the broker."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

import aio_pika
from aio_pika.exceptions import PublishError

from domain.concurrency import Tasks, backoff, shielded
from domain.errors import BrokerUnavailable
from domain.ports import Message, Publication, QueueDepth, Received
from workers.broker import topology
from workers.broker.link import GRACE_SECONDS, Link, reaching, whereabouts

if TYPE_CHECKING:
    import aiormq.abc
    from aio_pika.abc import AbstractChannel

log = logging.getLogger(__name__)

_CALL_SECONDS = 10.0
_REJECT_ATTEMPTS = 3
_PAUSE_SECONDS = 0.2
_BROKERS_OWN = ("x-first-death-", "x-last-death-")


class RabbitBroker:
    """`domain.ports.Broker` on RabbitMQ. One event loop.

    `publish_window` is how many messages may wait for their confirms at once, over all callers; `name` is what the
    management page calls our connections. Whatever is lost (a connection, a channel, a queue) is made again, with
    back-off, for as long as the broker is not closed.
    """

    def __init__(self, url: str, *, publish_window: int = 100, name: str = "heliograph") -> None:
        self._url = url
        self._name = name
        self._window = asyncio.Semaphore(publish_window)
        self._callbacks: list[Callable[[], None]] = []
        self._keeper = Tasks()
        self._consumers = Tasks()
        self._mending = Tasks()
        self._link: Link | None = None
        self._linked = asyncio.Event()

    async def connect(self) -> None:
        """Returns once the topology stands; says what it waits for. May be called twice, and after `close`."""
        if not len(self._keeper):
            _ = self._keeper.supervise("broker connection", self._stay_connected)
        await self._linked.wait()

    async def close(self) -> None:
        """Ends all consumers and both connections. May be called twice."""
        await self._consumers.cancel()
        await self._mending.cancel()
        await self._keeper.cancel()

    async def publish(self, publications: Sequence[Publication], deadline: float = 10.0) -> None:
        """As the port says; pipelined, so a hundred take little longer than one."""
        link = self._current_link()
        async with reaching("publish", deadline):
            await link.unblocked()
            # Tasks start, and locks are granted, in the order of creation: the messages leave in order.
            answers = await asyncio.gather(*(self._send(link, each) for each in publications), return_exceptions=True)
            failures = [answer for answer in answers if isinstance(answer, BaseException)]
        if any(isinstance(failure, PublishError) for failure in failures):
            self._mend(link)
        if failures:
            raise BrokerUnavailable(f"{len(failures)} of {len(answers)} messages not taken: {failures[0]!r}")

    @asynccontextmanager
    async def consume(self, queue: str, prefetch: int) -> AsyncIterator[AsyncIterator[Received]]:
        """As the port says. The broker may be away when the context begins."""
        consumer = _Consumer(self, queue, prefetch)
        task = self._consumers.start(f"consume {queue}", consumer.run())
        try:
            yield consumer
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def depth(self, queue: str) -> QueueDepth:
        """As the port says: messages that no consumer holds."""
        async with self._current_link().channel() as channel, reaching(f"look into {queue}", _CALL_SECONDS):
            declared = (await channel.declare_queue(queue, passive=True)).declaration_result
        return QueueDepth(messages=declared.message_count or 0, consumers=declared.consumer_count or 0)

    def on_connected(self, callback: Callable[[], None]) -> None:
        """As the port says; a connection that stands already is not told of."""
        self._callbacks.append(callback)

    @property
    def available(self) -> bool:
        """Whether it is connected now. A server that froze is noticed after three heartbeats."""
        return self._link is not None and not self._link.lost.is_set()

    async def link(self) -> Link:
        """For the consumers: wait until connected."""
        while self._link is None:
            await self._linked.wait()
        return self._link

    def _current_link(self) -> Link:
        if self._link is None or self._link.lost.is_set():
            raise BrokerUnavailable("RabbitMQ is not connected.")
        return self._link

    async def _send(self, link: Link, publication: Publication) -> None:
        """Publish one message and wait for its confirm."""
        message = _to_amqp(publication.message)
        async with self._window:
            await link.publishing.basic_publish(
                message.body,
                exchange=publication.exchange,
                routing_key=publication.routing_key,
                properties=message.properties,
                mandatory=True,
                wait=False,  # for the confirm we wait, not for the socket as well
            )

    def _mend(self, link: Link) -> None:
        """Somebody deleted a queue: declare it again, for a later attempt."""
        if not len(self._mending):
            _ = self._mending.start("declare the topology", self._declare_later(link))

    async def _declare_later(self, link: Link) -> None:
        await asyncio.sleep(GRACE_SECONDS)
        with suppress(BrokerUnavailable):
            async with reaching("declare the topology", _CALL_SECONDS):
                await link.declare()

    async def _stay_connected(self) -> None:
        while True:
            self._link = await self._open_link()
            try:
                self._linked.set()
                log.info("connected to RabbitMQ at %s", whereabouts(self._url))
                for callback in self._callbacks:
                    callback()
                await self._link.lost.wait()
                log.warning("lost RabbitMQ at %s", whereabouts(self._url))
            finally:
                link, self._link = self._link, None
                self._linked.clear()
                await link.close()
            await asyncio.sleep(_PAUSE_SECONDS)  # a connection that drops as soon as it stands must not spin

    async def _open_link(self) -> Link:
        async for attempt in backoff():
            try:
                return await Link.open(self._url, self._name)
            except BrokerUnavailable as error:
                if attempt == 1 or attempt % 10 == 0:
                    log.warning("waiting for RabbitMQ (attempt %d): %s", attempt, error)
        raise AssertionError("back-off never ends")


class _Consumer(AsyncIterator[Received]):
    """Messages of one queue, on a channel of its own, across channels and links.

    Work never happens in the library's callbacks, because a dropped connection cancels those: they only fill the
    buffer, and RabbitMQ's prefetch keeps it within its bound.
    """

    def __init__(self, broker: RabbitBroker, queue: str, prefetch: int) -> None:
        self._broker = broker
        self._queue = queue
        self._prefetch = prefetch
        self._buffer: asyncio.Queue[_Delivery | None] = asyncio.Queue(prefetch)

    async def run(self) -> None:
        """Keep the buffer filled until cancelled; then the iteration ends."""
        try:
            while True:
                async for _ in backoff():
                    if await self._attend():
                        break  # it stood for a while: the next attempt is a first one again
        finally:
            self._discard()
            self._buffer.put_nowait(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        delivery = await self._buffer.get()
        if delivery is None:
            self._buffer.put_nowait(None)  # it stays at the end, however often it is asked
            raise StopAsyncIteration
        return delivery

    async def _attend(self) -> bool:
        """Consume until the channel or the queue is lost. Whether it had begun."""
        begun = False
        try:
            link = await self._broker.link()
            async with link.channel() as channel:
                ended = await self._begin(link, channel)
                begun = True
                await ended.wait()
            if not link.lost.is_set():
                log.warning("RabbitMQ cancelled the consumer of %s; it starts again", self._queue)
                await asyncio.sleep(GRACE_SECONDS)
        except BrokerUnavailable as error:
            log.warning("cannot consume %s: %s", self._queue, error)
        # Of a channel that is gone nothing can be settled any more; all of it comes again.
        self._discard()
        return begun

    async def _begin(self, link: Link, channel: "AbstractChannel") -> asyncio.Event:
        """Start to consume. The event is set when the channel closes or the queue is deleted."""
        ended = asyncio.Event()
        channel.close_callbacks.add(lambda *_: ended.set())
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(lambda _: ended.set())
        async with reaching(f"consume {self._queue}", _CALL_SECONDS):
            await link.declare()
            await underlay.basic_qos(prefetch_count=self._prefetch)
            await underlay.basic_consume(self._queue, self._take)
        return ended

    async def _take(self, delivered: "aiormq.abc.DeliveredMessage") -> None:
        self._buffer.put_nowait(_Delivery(self._broker, self._queue, delivered))

    def _discard(self) -> None:
        while not self._buffer.empty():
            self._buffer.get_nowait()


class _Delivery:
    """`domain.ports.Received`. Settling on a channel that is gone does nothing: the message comes again."""

    def __init__(self, broker: RabbitBroker, queue: str, delivered: "aiormq.abc.DeliveredMessage") -> None:
        self._broker = broker
        self._queue = queue
        self._delivered = delivered
        self._settled = False
        self.message = _from_amqp(delivered)
        self.redelivered = bool(delivered.redelivered)

    async def ack(self) -> None:
        if self._first():
            await self._ack()

    async def requeue(self) -> None:
        if self._first():
            await self._requeue()

    async def reject(self, reason: str) -> None:
        if self._first():
            await shielded(self._move(reason))

    def _first(self) -> bool:
        """Whether nobody settled it yet. To settle twice would cost the channel."""
        first, self._settled = not self._settled, True
        return first

    async def _ack(self) -> None:
        with suppress(BrokerUnavailable):
            async with reaching("acknowledge", _CALL_SECONDS):
                await self._delivered.channel.basic_ack(self._tag, wait=False)

    async def _requeue(self) -> None:
        with suppress(BrokerUnavailable):
            async with reaching("requeue", _CALL_SECONDS):
                await self._delivered.channel.basic_nack(self._tag, requeue=True, wait=False)

    async def _move(self, reason: str) -> None:
        """Published first and acknowledged afterwards: rather twice than never."""
        if await self._published(topology.rejected(self.message, self._queue, reason)):
            await self._ack()
        else:
            await self._requeue()

    async def _published(self, publication: Publication) -> bool:
        """Not at the first refusal back to the queue: it would come again at once, and be refused again."""
        async for attempt in backoff(first=GRACE_SECONDS):
            try:
                await self._broker.publish([publication])
            except BrokerUnavailable as error:
                log.warning("a message of %s could not go to %s: %s", self._queue, topology.FAILED_QUEUE, error)
                if attempt == _REJECT_ATTEMPTS or not self._broker.available:
                    break
            else:
                return True
        return False

    @property
    def _tag(self) -> int:
        return self._delivered.delivery_tag or 0


def _to_amqp(message: Message) -> aio_pika.Message:
    return aio_pika.Message(
        message.body,
        headers=dict(message.headers),
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=message.message_id or uuid4().hex,
        correlation_id=message.correlation_id,
        type=message.type,
    )


def _from_amqp(delivered: "aiormq.abc.DeliveredMessage") -> Message:
    properties = delivered.header.properties
    return Message(
        type=properties.message_type or "",
        body=delivered.body,
        message_id=properties.message_id or "",
        correlation_id=properties.correlation_id,
        headers=_headers(properties.headers or {}),
    )


def _headers(table: dict[str, Any]) -> dict[str, str]:
    """Ours are text. Of RabbitMQ's own book-keeping only the cause of death matters, in the words that we use."""
    headers = {
        name: value for name, value in table.items() if isinstance(value, str) and not name.startswith(_BROKERS_OWN)
    }
    if topology.HEADER_REASON not in headers and (cause := table.get("x-first-death-reason")):
        over_delivered = cause == "delivery_limit"
        headers[topology.HEADER_REASON] = topology.OVER_DELIVERED if over_delivered else f"RabbitMQ gave up: {cause}."
        headers[topology.HEADER_ORIGINAL_QUEUE] = str(table.get("x-first-death-queue", ""))
    return headers
