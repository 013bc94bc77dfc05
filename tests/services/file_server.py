"""A server with files, on the loopback interface, that plays what such servers do."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote, unquote

PDF = b"%PDF-1.7 " + bytes(range(256)) * 40
HEAD = "HTTP/1.1 {} x\r\nconnection: close\r\n{}\r\n"


class FileServer:
    """Answers by path: `/status/404`, `/size/1000` (declared), `/endless`, `/silent`, `/half`, `/headers/a: b`, and
    a PDF for every other one. `asked` counts the requests of each path; `gate`, while not set, holds answers back.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.sent = 0
        self.port = 0
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def place(self) -> str:
        """Its host and port, as `HELIOGRAPH_ATTACHMENT_HOSTS` takes them."""
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/invoice.pdf") -> str:
        return f"http://{self.place}{quote(path)}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FileServer"]:
        """Listens on a free port for as long as the context lasts."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            path = unquote(head.split(" ")[1])
            self.asked[path] += 1
            await self.gate.wait()
            await self._answer(path, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            writer.close()

    async def _answer(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, kind, *rest = path.split("/", 2)
        if kind == "status":
            writer.write(
                HEAD.format(rest[0], "location: /elsewhere\r\nretry-after: 7\r\ncontent-length: 0\r\n").encode()
            )
        elif kind == "size":
            writer.write(
                HEAD.format(200, f"content-length: {rest[0]}\r\n").encode() + b"x" * min(int(rest[0]), 100_000)
            )
        elif kind == "endless":
            await self._pour(writer)
        elif kind == "half":
            writer.write(HEAD.format(200, "content-length: 1000\r\n").encode() + b"half")
        elif kind == "headers":
            writer.write(HEAD.format(200, f"{rest[0]}\r\ncontent-length: 4\r\n").encode() + b"%PDF")
        elif kind == "silent":
            await reader.read()
        else:
            length = f"content-type: application/pdf; x=y\r\ncontent-length: {len(PDF)}\r\n"
            writer.write(HEAD.format(200, length).encode() + PDF)
        await writer.drain()

    async def _pour(self, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD.format(200, "").encode())
        while True:
            writer.write(b"x" * 10_000)
            self.sent += 10_000
            await writer.drain()
