"""Mail as bytes: our own MIME writer (RFC 5322, RFC 2045 to 2047). Files are `workers.email.mime_files`'.

The standard library's `EmailMessage` costs 2.4 ms a mail, ten times as much as sending it; this costs some ten
microseconds, because it knows what it writes: one mailbox each way and one or two text parts. Tests hold it against
`EmailMessage` and the standard parser.
"""

from binascii import b2a_qp
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache

from domain.outgoing import OutgoingEmail
from workers.email.headers import MAX_LINE, field, mailbox, refuse_breaks, sender, subject
from workers.email.mime_files import base64_lines, boundary_for, with_files

_CRLF = b"\r\n"
_PLAIN = bytes([0x09, 0x0A, 0x0D, *range(0x20, 0x7F)])
_HIGH = bytes(range(0x80, 0x100))
_OURS = frozenset({"from", "to", "subject", "date", "message-id", "mime-version", "sender", "bcc"})


def build(mail: OutgoingEmail, date: datetime) -> bytes:
    """The mail with CRLF line ends, ending in one; no line is longer than 998 octets. `date` is aware."""
    return b"".join(pieces(mail, date))


def pieces(mail: OutgoingEmail, date: datetime) -> tuple[bytes, ...]:
    """The same as pieces, each of whole lines; the first has all of the head. A mail without files is one piece.

    Equal input gives equal bytes. Raises ValueError for what cannot be mail: a line break in a header, an address or
    text that cannot be encoded, no body at all, an extra header that is ours to set.
    """
    head = [
        sender("From", mail.sender_name, mail.sender),
        mailbox("To", mail.to_name, mail.to),
        subject(mail.subject),
        f"Date: {_date(date.replace(microsecond=0))}",
        f"Message-ID: {_message_id(mail.message_id)}",
        *(extra_field(name, value) for name, value in mail.headers),
        "MIME-Version: 1.0\r\n",
    ]
    message = "\r\n".join(head).encode(), _body(mail)
    return with_files(*message, mail.files, mail.message_id) if mail.files else (b"".join(message),)


def needs_smtputf8(mail: OutgoingEmail) -> bool:
    """Whether some address has more than ASCII before the @, so that only an SMTPUTF8 server (RFC 6531) takes it."""
    addresses = (mail.to, mail.sender, mail.envelope_sender or "")
    return not all(address.rpartition("@")[0].isascii() for address in addresses)


def for_data(*message: bytes) -> bytes:
    """What follows the DATA command: the mail with its leading dots doubled, and the final dot (RFC 5321, 4.5.2).

    The message may come in pieces of whole lines.
    """
    doubled = (b"." + piece if piece.startswith(b".") else piece for piece in message)
    return b"".join([*(piece.replace(b"\r\n.", b"\r\n..") for piece in doubled), b".\r\n"])


def _body(mail: OutgoingEmail) -> bytes:
    parts = [
        _part(subtype, content)
        for subtype, content in ((b"plain", mail.text), (b"html", mail.html))
        if content is not None
    ]
    if not parts:
        raise ValueError("A mail needs a text or an HTML body.")
    return parts[0] if len(parts) == 1 else _alternative(parts, mail.message_id)


def _alternative(parts: list[bytes], message_id: str) -> bytes:
    boundary = boundary_for(message_id, b"".join(parts))
    delimiter = b"--" + boundary
    return b"".join(
        (
            b'Content-Type: multipart/alternative;\r\n boundary="' + boundary + b'"\r\n',
            *(_CRLF + delimiter + _CRLF + part for part in parts),
            _CRLF + delimiter + b"--\r\n",
        )
    )


def _part(subtype: bytes, content: str) -> bytes:
    encoding, data = _transfer_encoded(content)
    head = b"Content-Type: text/%b; charset=utf-8\r\nContent-Transfer-Encoding: %b\r\n\r\n" % (subtype, encoding)
    return head + data


def _transfer_encoded(content: str) -> tuple[bytes, bytes]:
    """The lightest encoding that survives every relay: as it is, else quoted-printable, else (denser) base64."""
    data = _lines(content)
    if content.isascii() and not data.translate(None, _PLAIN) and _lines_are_short(data):
        return b"7bit", data
    high = len(data) - len(data.translate(None, _HIGH))
    if 6 * high > len(data):
        return b"base64", b"".join(base64_lines(data))
    return b"quoted-printable", b2a_qp(data, istext=True)


def _lines(content: str) -> bytes:
    """UTF-8 with CRLF after every line, the last one included."""
    if "\r" in content:
        content = content.replace("\r\n", "\n").replace("\r", "\n")
    if not content.endswith("\n"):
        content += "\n"
    return content.encode().replace(b"\n", _CRLF)


def _lines_are_short(data: bytes) -> bool:
    """Whether every line keeps the limit. Looks at one line end in a thousand octets only: this is the hot path."""
    start = 0
    while len(data) - start > MAX_LINE:
        start = data.rfind(_CRLF, start, start + MAX_LINE + len(_CRLF)) + len(_CRLF)
        if start < len(_CRLF):
            return False
    return True


def extra_field(name: str, value: str) -> str:
    """A header that is not ours to set. Raises ValueError for one that is, and for what no field can hold."""
    if name.lower() in _OURS or name.lower().startswith("content-"):
        raise ValueError(f"The header {name} is set by us.")
    return field(name, value)


def _message_id(value: str) -> str:
    refuse_breaks(value)
    if not (value.isascii() and value.isprintable() and value[:1] == "<" and value[-1:] == ">" and " " not in value):
        raise ValueError("A Message-ID looks like <left@right>.")
    return value


@lru_cache(maxsize=64)
def _date(second: datetime) -> str:
    if second.tzinfo is None:
        raise ValueError("The date of a mail needs a time zone.")
    return format_datetime(second)
