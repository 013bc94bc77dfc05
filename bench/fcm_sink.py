"""An FCM that takes everything, for `bench.sink`: HTTP/1.1, one answer a request, keep-alive."""

import asyncio
import re
import time

NOTIFICATION = re.compile(rb'"notification_id":\s*"([^"]+)"')
LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
ANSWER = b'{"name": "projects/bench/messages/1"}'
TAKEN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)


class FcmSink(asyncio.Protocol):
    """One connection."""

    def __init__(self, taken: list[tuple[float, bytes]]) -> None:
        self._taken = taken
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._step():
            self._transport.write(TAKEN)

    def _step(self) -> bool:
        """Take one request, if it is all there."""
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not found or length is None or len(rest) < int(length[1]):
            return False
        body, self._buffer = rest[: int(length[1])], rest[int(length[1]) :]
        named = NOTIFICATION.search(body)
        self._taken.append((time.time(), named[1] if named else b"?"))
        return True
