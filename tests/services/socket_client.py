"""A client of one GraphQL socket that says and hears every message itself."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.services.gateway_fakes import KEY

PROTOCOL: Any = "graphql-transport-ws"
FEED = "subscription ($after: String) { status_feed(after: $after) { sequence status previous_status cursor } }"


class Socket:
    """A client of one socket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, **message: Any) -> None:
        """Send one message."""
        await self.connection.send(json.dumps(message))

    async def hear(self) -> dict[str, Any]:
        """The next message; it must come, and as text."""
        async with asyncio.timeout(10):
            text = await self.connection.recv()
        assert isinstance(text, str)
        message: dict[str, Any] = json.loads(text)
        return message

    async def greet(self, credential: str = KEY) -> None:
        """Open as graphql-ws clients do."""
        await self.say(type="connection_init", payload={"Authorization": f"Bearer {credential}"})
        assert await self.hear() == {"type": "connection_ack"}

    async def subscribe(self, query: str, operation: str = "1", **variables: Any) -> None:
        """Begin an operation."""
        await self.say(id=operation, type="subscribe", payload={"query": query, "variables": variables})

    async def closed(self) -> int:
        """The code that the server closes with."""
        async with asyncio.timeout(10):
            await self.connection.wait_closed()
        assert self.connection.close_code is not None
        return self.connection.close_code


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens inside the server
            await asyncio.sleep(0.005)


@asynccontextmanager
async def opened(url: str, **more: Any) -> AsyncIterator[Socket]:
    """A socket that nobody has said a word on."""
    async with connect(url, subprotocols=[PROTOCOL], **more) as connection:
        yield Socket(connection)
