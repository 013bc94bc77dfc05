"""A TCP connection that tests hold in their hands: what one side says can be kept from the other."""

import asyncio


class Wire:
    """Leads from a port of its own to another one of this machine, from `start` to `stop`."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.made = 0
        """How many connections there were so far."""
        self._target = target
        self._requests, self._answers = asyncio.Event(), asyncio.Event()
        self.let_go()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End every connection."""
        assert self._server is not None
        self._server.close()
        self.cut()

    def hold_requests(self) -> None:
        """From now on nothing that the client says arrives."""
        self._requests.clear()

    def hold_answers(self) -> None:
        """From now on nothing that the server says arrives."""
        self._answers.clear()

    def let_go(self) -> None:
        """Everything arrives, what was held first."""
        self._requests.set()
        self._answers.set()

    def cut(self) -> None:
        """End every connection; what was held never arrives. New connections are free."""
        for writer in self._writers:
            writer.transport.abort()
        self.let_go()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, target_writer}
        self.made += 1
        try:
            await asyncio.gather(
                _carry(reader, target_writer, self._requests), _carry(target_reader, writer, self._answers)
            )
        finally:
            self._writers -= {writer, target_writer}
            writer.transport.abort()
            target_writer.transport.abort()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, free: asyncio.Event) -> None:
    """Carry what comes, while it may pass; when one side hangs up, so does the other."""
    try:
        while data := await reader.read(65536):
            await free.wait()
            if writer.transport.is_closing():
                return
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # one of them has gone
    finally:
        writer.close()
