"""The other end of a socket that closes it the first time, with the code that a test is about."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol


class Peer:
    """Closes its first connection with `code`, before or after the acknowledgement; later ones end in good order."""

    def __init__(self, code: int | None, *, acknowledged: bool) -> None:
        self._code, self._acknowledged = code, acknowledged
        self.connections = 0
        self.port = 0

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Listen at `port`."""
        protocols = [Subprotocol("graphql-transport-ws")]
        async with serve(self._speak, "127.0.0.1", 0, subprotocols=protocols) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield

    async def _speak(self, socket: ServerConnection) -> None:
        self.connections += 1
        first = self.connections == 1
        await socket.recv()
        if self._acknowledged or not first:
            await socket.send(json.dumps({"type": "connection_ack"}))
            subscribe = json.loads(await socket.recv())
            if not first:
                await socket.send(json.dumps({"type": "complete", "id": subscribe["id"]}))
                await socket.wait_closed()
                return
        await self._end(socket)

    async def _end(self, socket: ServerConnection) -> None:
        if self._code is None:
            socket.transport.abort()
        else:
            await socket.close(self._code, "as the test has it")
