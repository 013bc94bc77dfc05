"""A mail as the sandbox keeps it and as its reader sees it. What is in it is a stranger's: nothing of it is trusted."""

import logging
import uuid
from datetime import UTC, datetime
from email import policy
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser, BytesParser
from functools import cached_property

import msgspec
from aiosmtpd.smtp import Envelope

from workers.sandbox.parts import MailFile, files_of, is_file, parts_of

log = logging.getLogger(__name__)

MAX_DECODED = 2_000
"""Characters of a header in which encoded words are looked for: looking through a long one takes its square."""
_SLOW_CHARSETS = frozenset({"idna", "punycode"})
"""What Python knows as character sets, mails never use, and takes the square of their length to read."""


class SandboxMail(msgspec.Struct, frozen=True, kw_only=True):
    """A mail as its reader sees it. `sender` and `recipient` are the header's; `envelope_…` are what SMTP was told."""

    id: str
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
    attachments: tuple[MailFile, ...]
    size: int


class KeptMail:
    """A mail as it came; most are never looked at. `id` is its own, and nobody guesses it."""

    def __init__(self, envelope: Envelope) -> None:
        self.id = uuid.uuid4().hex
        self.received_at = datetime.now(UTC)
        self.sender = envelope.mail_from or ""
        self.recipients = tuple(envelope.rcpt_tos)
        self.raw = content_of(envelope)

    @cached_property
    def subject(self) -> str:
        """The subject, read without the rest of the mail."""
        return header(self._headers, "Subject")

    @cached_property
    def addressed(self) -> str:
        """Everybody whom the mail names, to be searched in: the header's and the envelope's."""
        named = [header(self._headers, name) for name in ("From", "To")]
        return " ".join([*named, self.sender, *self.recipients])

    @cached_property
    def mail(self) -> SandboxMail:
        """All of it, parsed when it is first asked for. Never raises: what nobody can parse has no parts."""
        message = _parsed(self.raw)
        return SandboxMail(
            id=self.id,
            received_at=self.received_at,
            envelope_sender=self.sender,
            envelope_recipients=self.recipients,
            message_id=header(message, "Message-ID"),
            subject=header(message, "Subject"),
            sender=header(message, "From"),
            recipient=header(message, "To"),
            headers=tuple((name, decoded(str(value))) for name, value in message.items()),
            text=_text(message, "text/plain"),
            html=_text(message, "text/html"),
            attachments=tuple(file for file, _ in files_of(message)),
            size=len(self.raw),
        )

    def file(self, number: int) -> tuple[MailFile, bytes] | None:
        """One of its attachments, counted from 0. Never raises."""
        found = files_of(_parsed(self.raw))
        return found[number] if 0 <= number < len(found) else None

    @cached_property
    def _headers(self) -> Message:
        return BytesHeaderParser(policy=policy.compat32).parsebytes(self.raw)


def content_of(envelope: Envelope) -> bytes:
    """What came after DATA."""
    content = envelope.content
    return content if isinstance(content, bytes) else str(content or "").encode()


def header(message: Message, name: str) -> str:
    """A header as people read it; empty where there is none."""
    return decoded(str(message.get(name, "")))


def decoded(value: str) -> str:
    """Encoded words (RFC 2047) as text, on one line; as they came where nobody knows their character set."""
    line = "".join(value.splitlines())
    if len(line) > MAX_DECODED:
        return _encodable(line)
    try:
        return _encodable(str(make_header(decode_header(line))))
    except (LookupError, ValueError, HeaderParseError):
        return _encodable(line)


def _parsed(raw: bytes) -> Message:
    """The standard parser gives up on some mails, such as parts within parts a thousand deep: then only the headers."""
    try:
        return BytesParser(policy=policy.compat32).parsebytes(raw)
    except Exception:
        log.warning("the sandbox could not parse a mail of %d bytes", len(raw), exc_info=True)
        return BytesHeaderParser(policy=policy.compat32).parsebytes(raw)


def _text(message: Message, content_type: str) -> str | None:
    for part in parts_of(message):
        if part.get_content_type() == content_type and not part.is_multipart() and not is_file(part):
            data = part.get_payload(decode=True)
            return _characters(data, part.get_content_charset() or "utf-8") if isinstance(data, bytes) else None
    return None


def _characters(data: bytes, charset: str) -> str:
    try:
        return _encodable(data.decode("utf-8" if charset.lower() in _SLOW_CHARSETS else charset, "replace"))
    except (LookupError, ValueError):  # no such character set, or one that is none, such as base64
        return data.decode("utf-8", "replace")


def _encodable(text: str) -> str:
    """Without halves of surrogate pairs, which some character sets let through and JSON does not."""
    return text.encode("utf-8", "replace").decode()
