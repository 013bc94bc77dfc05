"""uvicorn's connections, with what ten thousand sockets on one process need besides."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from api.turnstile import Turnstile

_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

PARTING_SECONDS = 1.0
"""How long a client may take nothing once the server stops."""


class HttpConnection(HttpToolsProtocol):
    """HTTP, whose sockets pass a turnstile before anything is made for them.

    A client that has stopped reading does not hold up the end of the server.
    """

    def __init__(self, *given: Any, turnstile: Turnstile, **more: Any) -> None:
        super().__init__(*given, **more)
        self._turnstile = turnstile

    def handle_websocket_upgrade(self) -> None:
        """The client says nothing more before it is answered; whoever does all the same is not listened to."""
        self.transport.pause_reading()
        if not self._turnstile.knock(self._enter):
            self.transport.write(_TOO_MANY)
            self.transport.close()

    def _enter(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()
            super().handle_websocket_upgrade()
        del self.parser  # it points back at us: together they would be there until the garbage collector comes

    def shutdown(self) -> None:
        """As uvicorn, which would wait until the client has read what is written."""
        super().shutdown()
        _part_soon(self.transport)


class SocketConnection(WebSocketsSansIOProtocol):
    """A socket that lets go of its handshake, and of a client that answers no ping."""

    async def send(self, message: Any) -> None:
        """As uvicorn. Request and response of the handshake would be kept for as long as the socket: 4 kB."""
        await super().send(message)
        if message["type"] == "websocket.accept":
            del self.request, self.response

    def keepalive_timeout(self) -> None:
        """Close, and do not wait until the client has read what is written: it would never be done."""
        super().keepalive_timeout()
        self.transport.abort()

    def shutdown(self) -> None:
        """Likewise."""
        super().shutdown()
        _part_soon(self.transport)


def _part_soon(transport: asyncio.Transport) -> None:
    """Drop a client that takes nothing of what waits for it."""
    if waiting := transport.get_write_buffer_size():
        asyncio.get_running_loop().call_later(PARTING_SECONDS, _part, transport, waiting)


def _part(transport: asyncio.Transport, waiting: int) -> None:
    if transport.get_write_buffer_size() >= waiting:
        transport.abort()
