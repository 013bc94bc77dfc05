"""A mail server with the fates of `tests.contracts.http_api`, so that SMTP keeps the promises of every provider."""

import email
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

from domain.ports import EmailProvider
from tests.contracts.http_api import Fate, Taken
from tests.contracts.smtp_servers import DOT, DROP, HANG, ScriptedServer, provider_for

SCRIPTS: dict[Fate, dict[str, bytes | list[bytes]]] = {
    Fate.TAKEN: {},
    Fate.REFUSED: {"RCPT": b"550 5.1.1 <ada.lovelace@example.com> Ada Lovelace: no such user"},
    Fate.BUSY: {"RCPT": b"451 4.3.0 try again later"},
    Fate.LIMITED: {"MAIL": b"421 4.7.0 Too many connections"},
    Fate.STRANGER: {"MAIL": b"530 5.7.0 log in first"},
    Fate.NOBODY_OPENS: {"GREETING": HANG},
    Fate.NO_ANSWER: {DOT: HANG},
    Fate.CUT_OFF: {DOT: DROP},
    Fate.GIBBERISH: {DOT: b"hello there"},
    Fate.ENDLESS: {DOT: b"250-2.0.0 " + b"x" * 200_000},
    Fate.HALF: {DOT: b"250-2.0.0 half an answer"},
}
OURS = frozenset({"from", "to", "subject", "message-id", "date", "mime-version", "content-type"})


class SmtpWorld:
    """What a test sees of the SMTP provider and its server, as of `HttpApi`."""

    name = "smtp"

    def __init__(self) -> None:
        self.fate = Fate.TAKEN
        self.wrong: list[str] = []
        self._server = ScriptedServer()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listens on a free port for as long as the context lasts."""
        script = SCRIPTS[self.fate]
        async with ScriptedServer(script, extensions=("PIPELINING", "SMTPUTF8", "8BITMIME")).running() as self._server:
            yield

    @property
    def connections(self) -> int:
        return self._server.connections

    @property
    def called(self) -> int:
        """How often a mail was begun."""
        return sum(command.startswith("MAIL") for command in self._server.commands)

    @property
    def taken(self) -> list[Taken]:
        """The mails that it has; whom each is for is in the envelope too."""
        return [_taken(raw) for raw in self._server.mails]

    def provider(self, connections: int = 20, **settings: Any) -> EmailProvider:
        """An adapter for this server."""
        return provider_for(self._server.url(), pool_size=connections, **settings)


def _taken(raw: bytes) -> Taken:
    message = email.message_from_bytes(raw.replace(b"\r\n..", b"\r\n."), policy=SMTP)
    assert isinstance(message, EmailMessage)
    to, sender = _mailbox(message, "to"), _mailbox(message, "from")
    return Taken(
        to=to.addr_spec,
        to_name=to.display_name or None,
        sender=sender.addr_spec,
        sender_name=sender.display_name or None,
        subject=str(message["subject"]),
        text=_text(message, "plain"),
        html=_text(message, "html"),
        message_id=str(message["message-id"]),
        headers={name: str(value) for name, value in message.items() if name.lower() not in OURS},
        notification_id=str(message["message-id"]).strip("<").partition("@")[0],
        files=tuple(_file(part) for part in message.iter_attachments()),
    )


def _file(part: EmailMessage) -> tuple[str, str, bytes]:
    assert part.get_content_disposition() == "attachment"
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return str(part.get_filename()), part.get_content_type(), content


def _mailbox(message: EmailMessage, name: str) -> Address:
    (address,) = message[name].addresses
    assert isinstance(address, Address)
    return address


def _text(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body((kind,))
    return None if part is None else str(part.get_content()).replace("\r\n", "\n")
