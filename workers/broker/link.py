"""What stands between us and RabbitMQ: two connections that live and die together.

`aio_pika`'s robust connections are not used. They restore channels, queues and consumers one by one and in the
background, so there is no moment at which one can say "it stands again", and a queue that was deleted meanwhile stays
deleted. A link is opened whole (topology included), used, and thrown away whole at the first sign of trouble.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit

import aio_pika
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from domain.errors import BrokerUnavailable
from workers.broker import topology

if TYPE_CHECKING:
    import aiormq
    from aio_pika.abc import AbstractChannel, AbstractConnection

GRACE_SECONDS = 1.0
"""How long a deleted queue stays deleted before we declare it again. RabbitMQ needs up to a tenth of a second to tell
the consumers of a quorum queue; one that was not told by then takes the new queue for the old one and is deaf for ever.
"""

_HEARTBEAT = 10
_OPEN_SECONDS = 10.0
_CLOSE_SECONDS = 5.0


@asynccontextmanager
async def reaching(purpose: str, seconds: float) -> AsyncIterator[None]:
    """Give calls on RabbitMQ a deadline, and turn whatever goes wrong with them into `BrokerUnavailable`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise BrokerUnavailable(f"Could not {purpose}: no answer within {seconds:g} s.") from error
    except CONNECTION_EXCEPTIONS as error:
        raise BrokerUnavailable(f"Could not {purpose}: {error!r}") from error
    except asyncio.CancelledError as error:
        # A dropped connection cancels the calls that wait on it. Only a cancellation that is meant for us goes on.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerUnavailable(f"Could not {purpose}: the connection was lost.") from error


class Link:
    """One connection to publish, one to consume, and the one channel that everything is published on.

    Two connections, because RabbitMQ stops reading from one that publishes into a memory or disk alarm, and the
    acknowledgements that end the alarm must get through. `lost` is set when either of them, or the channel, is gone.
    """

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.publishing: aiormq.Channel
        self._connections: list[AbstractConnection] = []
        self._publisher: AbstractConnection
        self._consumer: AbstractConnection

    @classmethod
    async def open(cls, url: str, name: str) -> Self:
        """Connect and declare the topology; all or nothing. Raises `BrokerUnavailable`."""
        link = cls()
        try:
            async with reaching(f"reach RabbitMQ at {whereabouts(url)}", _OPEN_SECONDS):
                await link._open(url, name)
        except BaseException:
            await link.close()
            raise
        return link

    async def close(self) -> None:
        """Let go of both connections; what was not settled goes back to its queue. May be called twice."""
        # At once, so that a server that froze is waited for once.
        await asyncio.gather(*(_close(connection) for connection in self._connections))

    async def declare(self) -> None:
        """Make sure that the topology stands: cheap, and harmless when it does."""
        async with self._consumer.channel(publisher_confirms=False) as channel:
            for exchange in topology.EXCHANGES:
                await channel.declare_exchange(exchange.name, exchange.kind, durable=True)
            queues = {
                spec.name: await channel.declare_queue(spec.name, durable=True, arguments=spec.arguments)
                for spec in topology.QUEUES
            }
            for binding in topology.BINDINGS:
                await queues[binding.queue].bind(binding.exchange, binding.key)

    async def unblocked(self) -> None:
        """Wait until no alarm keeps RabbitMQ from taking messages.

        What is written into an alarm piles up in our memory, is timed out here and arrives all the same, later.
        """
        if self._publisher.transport is not None:
            await self._publisher.transport.ready()

    @asynccontextmanager
    async def channel(self) -> AsyncIterator["AbstractChannel"]:
        """A channel of the consuming connection; when it closes, what was not settled goes back to its queue."""
        channel = self._consumer.channel(publisher_confirms=False)
        async with reaching("open a channel", _OPEN_SECONDS):
            await channel.initialize()
        try:
            yield channel
        finally:
            await _close(channel)

    async def _open(self, url: str, name: str) -> None:
        self._publisher = await self._connect(url, f"{name} (publish)")
        self._consumer = await self._connect(url, f"{name} (consume)")
        await self.declare()
        # Without `on_return_raises` an unroutable message looks like a confirmed one.
        channel = self._publisher.channel(on_return_raises=True)
        await channel.initialize()
        channel.close_callbacks.add(self._on_closed)
        # The layer below publishes without waiting for the socket each time, which is a quarter of the work.
        self.publishing = cast("aiormq.Channel", await channel.get_underlay_channel())

    async def _connect(self, url: str, name: str) -> "AbstractConnection":
        options: dict[str, Any] = {} if "heartbeat=" in url else {"heartbeat": _HEARTBEAT}
        connection: AbstractConnection = await aio_pika.connect(
            url, client_properties={"connection_name": name}, **options
        )
        self._connections.append(connection)
        connection.close_callbacks.add(self._on_closed)
        return connection

    def _on_closed(self, *_: object) -> None:
        self.lost.set()


async def _close(thing: "AbstractConnection | AbstractChannel") -> None:
    with suppress(BrokerUnavailable):
        async with reaching("say goodbye", _CLOSE_SECONDS):
            await thing.close()


def whereabouts(url: str) -> str:
    """Host, port and virtual host: what may be logged of a URL."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}{parts.path}"
