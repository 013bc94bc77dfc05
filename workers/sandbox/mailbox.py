"""A local mail server that keeps what it gets, so that the embedded default and the tests send real SMTP.

Addresses at `sandbox.heliograph.test` play the fates that a mail may meet; `+anything` may follow the name:

    bounce@         refused for good (550 5.1.1)
    defer@          put off the first time (451 4.7.1), taken when the same Message-ID comes again
    defer-always@   put off every time
    slow@           taken, after two seconds
    drop@           kept, but the connection ends before the answer to the final dot
"""

import asyncio
import logging
import re
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email import policy
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser
from functools import cached_property
from itertools import islice

import msgspec
from aiosmtpd.smtp import SMTP, Envelope, Session, syntax

FATES_DOMAIN = "sandbox.heliograph.test"
SLOW_SECONDS = 2.0

_MESSAGE_ID = re.compile(rb"^message-id:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_PATH = re.compile(r"<([^<>\s@\"]+@[^<>\s@\"]+)>\s*(.*)")
_MAX_MAIL = 10 * 1024 * 1024
_REMEMBERED = 10_000
_OK = "250 2.0.0 OK"


class SandboxMail(msgspec.Struct, frozen=True, kw_only=True):
    """A mail as its reader sees it. `sender` and `recipient` are the header's; `envelope_…` are what SMTP was told."""

    received_at: datetime
    envelope_sender: str
    envelope_recipients: tuple[str, ...]
    message_id: str
    subject: str
    sender: str
    recipient: str
    headers: tuple[tuple[str, str], ...]
    text: str | None
    html: str | None
    size: int


class Mailbox:
    """Listens on `host` and `port` (0 takes a free one) and keeps the last `capacity` mails in memory."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, capacity: int = 1000) -> None:
        self._host = host
        self._port = port
        self._kept: deque[_Kept] = deque(maxlen=capacity)
        self._handler = _Handler(self._keep)
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self.count = 0
        """How many mails were taken since the start, those included that are no longer kept."""

    @property
    def port(self) -> int:
        """The port that it listens on; the real one once it was started."""
        return self._port

    @property
    def url(self) -> str:
        """What `SmtpProvider` wants to know."""
        return f"smtp://{f'[{self._host}]' if ':' in self._host else self._host}:{self._port}?starttls=never"

    async def start(self) -> None:
        """Listen. Raises `OSError` when the port is taken."""
        # At INFO aiosmtpd logs every command with its address; addresses do not belong in logs.
        logging.getLogger("mail.log").setLevel(logging.WARNING)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self._handler, self._connections, loop), self._host, self._port
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and end all connections. What was kept stays readable. May be called twice."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await self._server.wait_closed()
        self._server = None

    def messages(self, limit: int = 50) -> list[SandboxMail]:
        """The newest mails first, at most `limit`. A mail is parsed when it is first asked for."""
        return [kept.mail for kept in islice(reversed(self._kept), limit)]

    def clear(self) -> None:
        """Forget all mails."""
        self._kept.clear()

    def _keep(self, envelope: Envelope) -> None:
        self.count += 1
        self._kept.append(_Kept(envelope))


class _Kept:
    """A mail as it came; most are never looked at."""

    def __init__(self, envelope: Envelope) -> None:
        self._received_at = datetime.now(UTC)
        self._sender = envelope.mail_from or ""
        self._recipients = tuple(envelope.rcpt_tos)
        self._content = _content(envelope)

    @cached_property
    def mail(self) -> SandboxMail:
        message: Message = BytesParser(policy=policy.compat32).parsebytes(self._content)
        return SandboxMail(
            received_at=self._received_at,
            envelope_sender=self._sender,
            envelope_recipients=self._recipients,
            message_id=_header(message, "Message-ID"),
            subject=_header(message, "Subject"),
            sender=_header(message, "From"),
            recipient=_header(message, "To"),
            headers=tuple((name, _decoded(str(value))) for name, value in message.items()),
            text=_text(message, "text/plain"),
            html=_text(message, "text/html"),
            size=len(self._content),
        )


class _Handler:
    """aiosmtpd's hooks: decides each mail's fate. A hook answers with the SMTP reply."""

    def __init__(self, keep: Callable[[Envelope], None]) -> None:
        self._keep = keep
        self._deferred: OrderedDict[str, None] = OrderedDict()
        self._fates: dict[str, Callable[[SMTP, Envelope], Awaitable[str]]] = {
            "defer": self._defer,
            "slow": self._slow,
            "drop": self._drop,
        }

    async def handle_RCPT(  # noqa: N802, PLR0913, RUF100 - aiosmtpd finds the hook by this name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        fate = _fate(address)
        if fate == "bounce":
            return f"550 5.1.1 <{address}>: there is no such mailbox"
        if fate == "defer-always":
            return f"451 4.7.1 <{address}>: come back later, every time"
        envelope.rcpt_tos.append(address)
        return _OK

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - likewise
        for address in envelope.rcpt_tos:
            if play := self._fates.get(_fate(address)):
                return await play(server, envelope)
        return self._take(envelope)

    def _take(self, envelope: Envelope) -> str:
        self._keep(envelope)
        return _OK

    async def _defer(self, server: SMTP, envelope: Envelope) -> str:
        found = _MESSAGE_ID.search(_content(envelope))
        message_id = found[1].decode("ascii", "replace") if found else ""
        if message_id in self._deferred:
            return self._take(envelope)
        self._deferred[message_id] = None
        if len(self._deferred) > _REMEMBERED:
            self._deferred.popitem(last=False)
        return "451 4.7.1 Greylisted: come back later"

    async def _slow(self, server: SMTP, envelope: Envelope) -> str:
        await asyncio.sleep(SLOW_SECONDS)
        return self._take(envelope)

    async def _drop(self, server: SMTP, envelope: Envelope) -> str:
        self._keep(envelope)
        if isinstance(server, _Connection):
            server.abort()
        await asyncio.Event().wait()  # until aiosmtpd notices and cancels this conversation
        return _OK


class _Connection(SMTP):
    """aiosmtpd on our loop, quicker with addresses and mails: it would spend more on a mail than its sender does."""

    line_length_limit = _MAX_MAIL  # the size of the read buffer, too

    def __init__(self, handler: _Handler, all_of_them: "set[_Connection]", loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            handler, hostname="mailbox", ident="Heliograph", data_size_limit=_MAX_MAIL, enable_SMTPUTF8=True, loop=loop
        )
        self._all = all_of_them

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._all.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._all.discard(self)
        super().connection_lost(error)

    @syntax("DATA")
    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd finds the command by this name
        """Take the mail, or say why not."""
        envelope = self.envelope
        if await self.check_helo_needed() or envelope is None:
            return
        if arg or not envelope.rcpt_tos:
            await self.push("501 Syntax: DATA" if arg else "503 Error: need RCPT command")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        try:
            envelope.content = await self._mail()
        except ValueError:
            await self.push("552 5.3.4 The mail is too big")
            self.abort()
            return
        status = await self.event_handler.handle_DATA(self, self.session, envelope)
        self.envelope = Envelope()
        await self.push(status)

    async def _mail(self) -> bytes:
        """What comes up to the final dot, leading dots undone. Raises ValueError if it is too big to be kept."""
        mail = bytearray(b"\r\n")
        while not mail.endswith(b"\r\n.\r\n"):
            try:
                mail += await self._reader.readuntil(b".\r\n")
            except asyncio.LimitOverrunError as error:
                raise ValueError("a line without end") from error
            if len(mail) > _MAX_MAIL:
                raise ValueError("too many lines")
        return bytes(mail[:-3].replace(b"\r\n.", b"\r\n")[2:])

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        plain = _PATH.fullmatch(arg)
        return (plain[1], plain[2]) if plain else super()._getaddr(arg)

    def abort(self) -> None:
        """End the connection without a word."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()


def _fate(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return local.partition("+")[0].lower() if domain.lower() == FATES_DOMAIN else ""


def _content(envelope: Envelope) -> bytes:
    content = envelope.content
    return content if isinstance(content, bytes) else str(content or "").encode()


def _header(message: Message, name: str) -> str:
    return _decoded(str(message.get(name, "")))


def _decoded(value: str) -> str:
    try:
        return str(make_header(decode_header("".join(value.splitlines()))))
    except (LookupError, ValueError):  # a character set that nobody knows
        return value


def _text(message: Message, content_type: str) -> str | None:
    for part in message.walk():
        if part.get_content_type() == content_type:
            data = part.get_payload(decode=True)
            return data.decode("utf-8", "replace") if isinstance(data, bytes) else None
    return None
