"""The sandbox's mail server: aiosmtpd on our loop, and the fates that it plays (`workers.sandbox.fates`)."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable

from aiosmtpd.smtp import SMTP, Envelope, Session, syntax

from domain.ids import NOTIFICATION, is_id
from workers.sandbox.afterwards import Afterwards
from workers.sandbox.fates import TAKEN_MAIL, MailFate, Play, mail_fate
from workers.sandbox.mail import content_of
from workers.smtp_data import read_mail

SLOW_SECONDS = 2.0
MAX_MAIL = 32 * 1024 * 1024
"""Room for attachments of 20 MB in base64, and a text."""

_MESSAGE_ID = re.compile(rb"^message-id:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_PATH = re.compile(r"<([^<>\s@\"]+@[^<>\s@\"]+)>\s*(.*)")
_REMEMBERED = 10_000
_OK = "250 2.0.0 OK"


class Fates:
    """aiosmtpd's hooks: plays each mail's fate. A hook answers with the SMTP reply."""

    def __init__(self, keep: Callable[[Envelope], None], afterwards: Afterwards) -> None:
        self._keep = keep
        self._afterwards = afterwards
        self._refused: OrderedDict[str, None] = OrderedDict()

    async def handle_RCPT(  # noqa: N802, PLR0913, RUF100 - aiosmtpd finds the hook by this name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        fate = mail_fate(address)
        if fate.refusal is not None and not fate.after_content:
            return fate.refusal.format(address=address)
        envelope.rcpt_tos.append(address)
        return _OK

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - likewise
        fates = (mail_fate(address) for address in envelope.rcpt_tos)
        fate = next((fate for fate in fates if fate is not TAKEN_MAIL), TAKEN_MAIL)
        message_id = _message_id(envelope)
        if fate.refusal is not None and not (fate.once and self._refused_before(message_id)):
            return fate.refusal
        if fate.play is Play.SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        self._keep(envelope)
        self._announce(message_id, fate)
        if fate.play in (Play.DROP, Play.HANG):
            await _never_answer(server, fate.play)
        return _OK

    def _refused_before(self, message_id: str) -> bool:
        """False the first time; remembers so many."""
        if message_id in self._refused:
            return True
        self._refused[message_id] = None
        if len(self._refused) > _REMEMBERED:
            self._refused.popitem(last=False)
        return False

    def _announce(self, message_id: str, fate: MailFate) -> None:
        id = message_id.strip("<>").partition("@")[0]
        if is_id(NOTIFICATION, id):
            self._afterwards.expect(id, fate.later)


def _message_id(envelope: Envelope) -> str:
    found = _MESSAGE_ID.search(content_of(envelope))
    return found[1].decode("ascii", "replace") if found else ""


async def _never_answer(server: SMTP, play: Play) -> None:
    """Until aiosmtpd notices that the connection has ended, and cancels this conversation."""
    if play is Play.DROP and isinstance(server, MailConnection):
        server.abort()
    await asyncio.Event().wait()


class MailConnection(SMTP):
    """aiosmtpd on our loop, quicker with addresses and mails: it would spend more on a mail than its sender does."""

    line_length_limit = MAX_MAIL  # the size of the read buffer, too

    def __init__(self, handler: Fates, all_of_them: "set[MailConnection]", loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            handler, hostname="mailbox", ident="Heliograph", data_size_limit=MAX_MAIL, enable_SMTPUTF8=True, loop=loop
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
            envelope.content = await read_mail(self._reader, MAX_MAIL)
        except ValueError:
            await self.push("552 5.3.4 The mail is too big")
            self.abort()
            return
        status = await self.event_handler.handle_DATA(self, self.session, envelope)
        self.envelope = Envelope()
        await self.push(status)

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        plain = _PATH.fullmatch(arg)
        return (plain[1], plain[2]) if plain else super()._getaddr(arg)

    def abort(self) -> None:
        """End the connection without a word."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()
