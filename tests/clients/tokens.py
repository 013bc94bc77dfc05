"""The app's own server, as far as a signed-in page needs it: it gives out tokens for the gateway."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import jwt

from tests.clients.gateway import JWT_SECRET

LIFE_SECONDS = 1.5


class Tokens:
    """Gives a short-lived token of `user` to whoever asks, until `signed_out`."""

    def __init__(self, user: str) -> None:
        self._user = user
        self.given = 0
        self.signed_out = False
        self.url = ""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Answer at `url`."""
        async with await asyncio.start_server(self._answer, "127.0.0.1", 0) as server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/token"
            yield

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        status, body = ("403 Forbidden", "") if self.signed_out else ("200 OK", self._token())
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write((head + body).encode())
        await writer.drain()
        writer.close()

    def _token(self) -> str:
        self.given += 1
        claims = {"sub": self._user, "exp": time.time() + LIFE_SECONDS}
        return jwt.encode(claims, JWT_SECRET, algorithm="HS256")
