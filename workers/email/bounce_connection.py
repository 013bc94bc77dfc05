"""One connection of the bounce listener: aiosmtpd with bounds on everything that a stranger may do.

It speaks SMTP and, after LHLO, LMTP (RFC 2033): there the final dot is answered once for each recipient.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiosmtpd.smtp import SMTP, Envelope, Session, syntax

from workers.smtp_data import read_mail

MAX_MAIL = 1_048_576
MAX_RECIPIENTS = 20
MAX_COMMANDS = 200  # of each kind, on one connection
_PATIENCE = 60.0  # seconds for a command, and for a whole mail
_OK = "250 2.0.0 OK"
_TOO_MANY = "452 4.5.3 Too many recipients"
_TOO_BIG = "552 5.3.4 The mail is too big"
_CLOSING = "421 4.3.2 The bounce listener is stopping"
_FULL = "421 4.3.2 Too many connections"
_BROKEN = "451 4.3.0 It could not be taken: try again later"

Receive = Callable[[tuple[str, ...], bytes], Awaitable[str]]
"""Takes a mail for these recipients, says with which SMTP reply. It has a deadline of its own."""


class House(Protocol):
    """What a connection needs of its listener."""

    def enter(self, connection: "BounceConnection") -> bool:
        """Whether there is room for it."""

    def leave(self, connection: "BounceConnection") -> None:
        """It has ended."""

    def refusal(self, recipient: str) -> str | None:
        """The SMTP reply to a recipient that is nobody here; None for one that is."""

    async def receive(self, recipients: tuple[str, ...], content: bytes) -> str:
        """See `Receive`."""


class _Hooks:
    """aiosmtpd's hooks. A hook answers with the SMTP reply."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def handle_RCPT(  # noqa: N802, PLR0913, RUF100 - aiosmtpd finds the hook by this name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (refusal := self._house.refusal(address)) is not None:
            return refusal
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return _TOO_MANY
        envelope.rcpt_tos.append(address)
        return _OK

    async def handle_exception(self, error: Exception) -> str:
        """Whatever it was: the sender keeps the mail."""
        return _BROKEN


class BounceConnection(SMTP):
    """`busy` while a mail is on its way in."""

    line_length_limit = MAX_MAIL  # the size of the read buffer, too

    def __init__(self, house: House, hostname: str) -> None:
        super().__init__(
            _Hooks(house),
            hostname=hostname,
            ident="Heliograph bounces",
            data_size_limit=MAX_MAIL,
            enable_SMTPUTF8=True,
            timeout=_PATIENCE,
            command_call_limit=MAX_COMMANDS,
            loop=asyncio.get_running_loop(),
        )
        self._house = house
        self._local_delivery = False
        self._leaving = False
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._house.enter(self):
            self.say_goodbye(_FULL)

    def connection_lost(self, error: Exception | None) -> None:
        self._house.leave(self)
        super().connection_lost(error)

    def say_goodbye(self, reply: str = _CLOSING) -> None:
        """End it: at once when nothing is on its way, else after the answer to it."""
        self._leaving = True
        if not self.busy and isinstance(self.transport, asyncio.WriteTransport):
            self.transport.write(f"{reply}\r\n".encode())
            self.transport.close()

    def abort(self) -> None:
        """End it without a word."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()

    @syntax("LHLO hostname")
    async def smtp_LHLO(self, arg: str) -> None:  # noqa: N802 - aiosmtpd finds the command by this name
        """EHLO of those who want an answer for each recipient."""
        await self.smtp_EHLO(arg)
        self._local_delivery = True

    @syntax("DATA")
    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802 - likewise
        """Take a mail."""
        envelope = self.envelope
        if await self.check_helo_needed() or envelope is None:
            return
        if arg or not envelope.rcpt_tos:
            await self.push("501 5.5.4 Syntax: DATA" if arg else "503 5.5.1 There is no recipient")
            return
        self.busy = True
        try:
            await self._take(tuple(envelope.rcpt_tos))
        finally:
            self.busy = False
        if self._leaving:
            self.say_goodbye()

    async def _take(self, recipients: tuple[str, ...]) -> None:
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        try:
            content = await read_mail(self._reader, MAX_MAIL)
        except ValueError:
            await self.push(_TOO_BIG)
            self._leaving = True  # what follows is the rest of the mail, not a command
            return
        self._reset_timeout()
        reply = await self._house.receive(recipients, content)
        self.envelope = Envelope()
        await self.push("\r\n".join([reply] * len(recipients)) if self._local_delivery else reply)
