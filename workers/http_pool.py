"""A lean HTTP/1.1 client (RFC 9112) for one origin: POST a body, get the answer, and know what a failure means.

A push or a mail is a small POST to always the same host; a general HTTP client spends ten times the CPU of the push
itself on it (docs/decisions/0003-fcm-transport.md). There are no retries, redirects, proxies or cookies here. A failure
says whether the request can have been acted upon: that is the difference between TRANSIENT and UNKNOWN.
"""

import asyncio
import ssl
import time
from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit

import httptools
import msgspec

MAX_REPLY = 64 * 1024
SLICE = 256 * 1024
"""Bytes of a request that are written at once; encrypting more would keep the event loop."""
IDLE_SECONDS = 60.0
"""An unused connection is not trusted for longer: a firewall may have forgotten it without a word."""
CONNECT_SECONDS = 5.0
"""A handshake takes two or three round trips; what takes longer is not coming."""


class NotSentError(Exception):
    """The server cannot have acted on it: nothing of the request was written."""


class NoAnswerError(Exception):
    """The request was written and no whole answer came back: the server may have acted on it."""


class Reply(msgspec.Struct, frozen=True):
    """What the server answered. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class HttpPool:
    """Up to `connections` kept-alive connections to the origin of `url`, opened when they are needed.

    `tls` replaces the default context, which trusts what the system trusts (or `SSL_CERT_FILE`). A connection that is
    not there after `connect_within` seconds is given up, so that a host that swallows packets leaves time for another
    provider. Raises `ValueError` for a URL that is not http or https.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int = 100,
        tls: ssl.SSLContext | None = None,
        connect_within: float = CONNECT_SECONDS,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an http or https URL")
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._host, self._port = parts.hostname, parts.port or (443 if self._tls else 80)
        self._authority = parts.netloc.rpartition("@")[2]
        self._prefix = parts.path.rstrip("/")
        self._connect_within = connect_within
        self._slots = asyncio.Semaphore(connections)
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._closed = False

    async def post(self, path: str, headers: Mapping[str, str], body: bytes, deadline: float) -> Reply:
        """POST within `deadline` seconds, waiting for a free connection included.

        Raises `NotSentError` or `NoAnswerError`. A call that fails or is cancelled closes its connection.
        """
        if deadline <= 0:  # a timeout acts at the next pause only, and by then it would be written
            raise NotSentError("no time is left")
        head = self._head(path, headers, len(body))
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(deadline), self._slots:
                connection = self._reuse() or await self._connect()
                return await connection.exchange(head, body)
        except OSError as error:  # time-outs and TLS failures are OSErrors too
            reason = f"no answer within {deadline:g} s" if isinstance(error, TimeoutError) else "the connection failed"
            raise (NotSentError if connection is None else NoAnswerError)(reason) from error
        finally:
            if connection is not None:
                self._give_back(connection)

    def close(self) -> None:
        """Drop all connections: calls under way fail, later ones are not sent. May be called twice."""
        self._closed = True
        self._idle.clear()
        for connection in list(self._open):
            connection.abort()

    def _head(self, path: str, headers: Mapping[str, str], length: int) -> bytes:
        lines = [f"POST {self._prefix}{path} HTTP/1.1", f"host: {self._authority}", f"content-length: {length}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _reuse(self) -> "_Connection | None":
        """The connection that was used last, if it still stands."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and time.monotonic() - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> "_Connection":
        if not self._closed:
            connection = await self._opened()
            if not self._closed:
                return connection
            connection.abort()
        raise NotSentError("the client is closed")

    async def _opened(self) -> "_Connection":
        try:
            async with asyncio.timeout(self._connect_within):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: _Connection(self._open), self._host, self._port, ssl=self._tls
                )
        except TimeoutError as error:
            raise NotSentError(f"no connection within {self._connect_within:g} s") from error
        return connection

    def _give_back(self, connection: "_Connection") -> None:
        if connection.usable and not self._closed:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.abort()


class _Connection(asyncio.Protocol):
    """One connection, one exchange at a time; in `register` while it is open.

    `usable`: open, and the last exchange ended cleanly.
    """

    def __init__(self, register: "set[_Connection]") -> None:
        self._register = register
        self._clean = self._written = True
        self._answer: asyncio.Future[Reply] | None = None
        self._received = 0
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._writable = asyncio.Event()
        self._writable.set()
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        return self._clean and not self._transport.is_closing()

    async def exchange(self, head: bytes, body: bytes) -> Reply:
        """Write a request, no faster than the server takes it, and wait for its answer.

        Raises `NotSentError`, `NoAnswerError`.
        """
        if self._transport.is_closing():
            raise NotSentError("the connection was closed before the request was written")
        self._clean, self._written = False, len(body) <= SLICE
        self._received = 0
        self._parser = httptools.HttpResponseParser(self)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(head + body[:SLICE])
        rest = memoryview(body)[SLICE:]
        for start in range(0, len(rest), SLICE):
            await self._writable.wait()
            if self._answer.done():  # it was refused, or the connection is gone, before all of it was heard
                break
            self._written = start + SLICE >= len(rest)
            self._transport.write(rest[start : start + SLICE])
        return await self._answer

    def abort(self) -> None:
        """Close at once."""
        self._clean = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._register.add(self)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._answer is None or self._answer.done() or self._received > MAX_REPLY:
            self._fail("the answer is longer than it may be")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("the answer is not HTTP")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._register.discard(self)
        self._writable.set()
        self._fail("the connection was closed before the answer was whole")

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NoAnswerError(reason))
        self.abort()

    # The parser's callbacks, in the order in which they come.

    def on_message_begin(self) -> None:
        self._headers = {}
        self._body = bytearray()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            return  # an interim answer; the real one follows
        if self._answer is None or self._answer.done():
            self.abort()  # an answer that nobody asked for: out of step
            return
        self._clean = self._parser.should_keep_alive() and self._written
        self._writable.set()
        self._answer.set_result(Reply(status, self._headers, bytes(self._body)))
