"""The client's side of an SMTP session that stands: commands out, replies in, in step or not at all.

aiosmtplib connects, upgrades to TLS and logs in (`smtp_server`). It has no way to send commands ahead of their replies
(RFC 2920), and after a failed exchange it is out of step without knowing it; so the session is handed to the small
protocol below, which counts what it asked and treats every surprise as the end of the connection.
"""

import asyncio
import re
from collections import deque

import msgspec

_REPLY_LINE = re.compile(rb"[2-5]\d\d([ -]|\r?$)")
_MAX_REPLY = 32 * 1024


class Reply(msgspec.Struct, frozen=True):
    """What the server answered; the lines of `text` are separated by a line feed."""

    code: int
    text: str


class SmtpError(Exception):
    """A mail could not be settled by a reply. `code` and the sentence are fit to be shown.

    `rate_limited`: the server will hear no more from us for now, because of how much it heard.
    """

    def __init__(self, code: str, sentence: str, *, rate_limited: bool = False) -> None:
        self.code = code
        self.rate_limited = rate_limited
        super().__init__(sentence)


class ConnectError(SmtpError):
    """No session came about."""


class DisconnectedError(SmtpError):
    """The connection ended, or the server said that it will, before the question was answered."""

    def __init__(
        self,
        code: str = "disconnected",
        sentence: str = "The mail server closed the connection.",
        *,
        rate_limited: bool = False,
    ) -> None:
        super().__init__(code, sentence, rate_limited=rate_limited)


class MalformedReplyError(SmtpError):
    """The server said something that is no SMTP reply."""

    def __init__(self) -> None:
        super().__init__("malformed_reply", "The mail server's reply was not SMTP.")


class Connection(asyncio.Protocol):
    """A session that is ready for mail. Carries one mail at a time; `clean` says that it may carry another.

    `max_size` is how many bytes a mail may have, where the server said (RFC 1870).
    """

    def __init__(
        self, transport: asyncio.Transport, extensions: frozenset[str], opened_at: float, max_size: int | None = None
    ) -> None:
        self.extensions = extensions
        self.max_size = max_size
        self.opened_at = opened_at
        self.mails = 0
        self.clean = True
        self.needs_reset = False
        self.closed = asyncio.get_running_loop().create_future()
        self._transport = transport
        self._asked = 0
        self._received = bytearray()
        self._lines: list[str] = []
        self._replies: deque[Reply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def usable(self) -> bool:
        """Whether it is connected, and neither side has lost the thread."""
        return self.clean and self._failure is None and not self._transport.is_closing()

    def send(self, data: bytes | memoryview, replies: int = 1) -> None:
        """Write commands or a mail that the server will answer with `replies` replies."""
        if self._failure is not None or self._transport.is_closing():
            raise self._failure or DisconnectedError
        self._asked += replies
        self._transport.write(data)

    async def pour(self, data: bytes | memoryview) -> bool:
        """Write a part of a mail, no faster than the server takes it; `expect` says that a reply will come.

        False, and nothing is written: the server has replied already, and hears no more.
        """
        await self._writable.wait()
        if self._replies:
            return False
        self.send(data, replies=0)
        return True

    def expect(self) -> None:
        """The server will say something, perhaps before it has heard all."""
        self._asked += 1

    async def reply(self) -> Reply:
        """The next reply, however long it takes. Raises `DisconnectedError`, `MalformedReplyError`."""
        while not self._replies:
            if self._failure is not None:
                raise self._failure
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._replies.popleft()

    def close(self) -> None:
        """Take leave (QUIT) without waiting for the answer. May be called twice."""
        if self.usable:
            self._asked += 1
            self._transport.write(b"QUIT\r\n")
            self._transport.close()
        else:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        *lines, rest = self._received.split(b"\n")
        self._received = rest
        for line in lines:
            self._take(bytes(line))
        if len(rest) + sum(map(len, self._lines)) > _MAX_REPLY:
            self._fail(MalformedReplyError())
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(DisconnectedError())
        if not self.closed.done():
            self.closed.set_result(None)

    def _take(self, line: bytes) -> None:
        code, mark, text = line[:3], line[3:4], line[4:]
        if not _REPLY_LINE.match(line):
            self._fail(MalformedReplyError())
            return
        self._lines.append(text.decode("utf-8", "replace").strip())
        if mark == b"-":
            return
        reply = Reply(int(code), "\n".join(self._lines))
        self._lines = []
        if self._asked == 0:
            self._fail(DisconnectedError())  # nobody asked: mostly a 421 on an idle connection
            return
        self._asked -= 1
        self._replies.append(reply)
        self._writable.set()  # who is still pouring may stop

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure
        self._writable.set()
        if not self._transport.is_closing():
            self._transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
