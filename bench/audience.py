"""Many sockets of one client process, as cheap as can be: they count the events that they get and read nothing else."""

import asyncio
import base64
import json
import os
import struct
from collections.abc import Sequence

from tests.services.gateway_fakes import KEY

FEED = """subscription { status_feed {
  cursor notification_id channel status previous_status reason occurred_at } }"""
_HELLO = (
    "GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\nSec-WebSocket-Key: {}\r\n\r\n"
)
_NEXT = b'"next"'


class Subscriber(asyncio.Protocol):
    """One socket with one subscription. `events` counts what it got."""

    def __init__(self, document: str) -> None:
        self._document = document
        self._tail = b""
        self.events = 0
        self.acknowledged = asyncio.Event()
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(_HELLO.format(base64.b64encode(os.urandom(16)).decode()).encode())

    def data_received(self, data: bytes) -> None:
        if not self.acknowledged.is_set():
            self._begin(data)
            return
        text = self._tail + data
        self.events += text.count(_NEXT)
        self._tail = text[-len(_NEXT) + 1 :]

    def _begin(self, data: bytes) -> None:
        if b"101 " in data:
            self._say({"type": "connection_init", "payload": {"Authorization": f"Bearer {KEY}"}})
        if b"connection_ack" in data:
            self._say({"id": "1", "type": "subscribe", "payload": {"query": self._document}})
            self.acknowledged.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def _say(self, message: object) -> None:
        self._transport.write(_frame(json.dumps(message).encode()))


def _frame(text: bytes) -> bytes:
    """A masked text frame (RFC 6455, section 5.2), with a mask of zeros."""
    length = len(text)
    head = struct.pack("!BB", 0x81, 0x80 | length) if length < 126 else struct.pack("!BBH", 0x81, 0xFE, length)
    return head + b"\0\0\0\0" + text


async def join(port: int, count: int, document: str = FEED, at_once: int = 200) -> list[Subscriber]:
    """So many subscribers, all acknowledged; `at_once` of them knock at the same time."""
    loop = asyncio.get_running_loop()
    doors = asyncio.Semaphore(at_once)

    async def one() -> Subscriber:
        async with doors:
            _, subscriber = await loop.create_connection(lambda: Subscriber(document), "127.0.0.1", port)
            await asyncio.wait_for(subscriber.acknowledged.wait(), 120)
        return subscriber

    return list(await asyncio.gather(*(one() for _ in range(count))))


async def heard(subscribers: Sequence[Subscriber], each: int, seconds: float = 300.0) -> None:
    """Wait until every subscriber has had so many events."""
    async with asyncio.timeout(seconds):
        while any(subscriber.events < each for subscriber in subscribers):  # noqa: ASYNC110 - all of them, not one
            await asyncio.sleep(0.01)
