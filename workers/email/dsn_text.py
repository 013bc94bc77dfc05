"""Bounces of mail servers that keep to no standard: qmail, older Exim and Exchange, and whoever writes like them.

Only texts that such a server begins with count. Anything else that a person or an answering machine may have written
is no bounce, whatever words it has in it.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Sequence
from email.message import Message

import msgspec

from domain.callbacks import CallbackKind

_MAX_TEXT = 20_000
"""Characters of a text that are looked at; what was returned with it is below."""
_FAILED = re.compile(
    r"""this\ is\ the\ qmail-send\ program | this\ is\ the\ mail\ (delivery\ )?(system|program)\ at
    | this\ message\ was\ created\ automatically\ by\ mail\ delivery\ software
    | a\ message\ that\ you\ sent\ could\ not\ be\ delivered
    | your\ message\ did\ not\ reach\ some\ or\ all\ of\ the\ intended\ recipients
    | delivery\ has\ failed\ to\ these\ recipients
    | delivery\ to\ the\ following\ recipients?\ (has\ )?failed
    | the\ following\ address(es)?\ (had|failed|have)
    | (could\ not|couldn't|unable\ to)\ deliver\ (your|the|this)\ (message|mail|e-?mail) """,
    re.IGNORECASE | re.VERBOSE,
)
_DELAYED = re.compile(
    r"has not yet been delivered|delivery (attempts? )?will (continue|be retried)|will (keep|continue) trying"
    r"|no action is required on your part|this is (only )?a warning|delivery (is|has been) delayed",
    re.IGNORECASE,
)
_COPY = re.compile(
    r"^-{2,80}.{0,20}(copy of (the|your) message|original message|below this line|included).*$",
    re.IGNORECASE | re.MULTILINE,
)
_STATUS = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?![\d.]*\d)")
_SAID = re.compile(r"(?<![\d.])(?:[45]\d\d[ -]|#?[45]\.\d{1,3}\.\d{1,3}(?![\d.]*\d))")
_ADDRESS = re.compile(r"<?([^\s<>@:;\"]{1,64}@[^\s<>@:;\"]{1,255}?)>?(?=[\s:;,>]|$)")
_LINE = re.compile(r"\S[^\n]*")


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What such a text says; `sentence` as it stands there, codes and addresses included."""

    kind: CallbackKind
    status: str | None
    sentence: str
    recipient: str


def read(message: Message, parts: Sequence[Message]) -> Said | None:
    """The bounce that a mail is by its text, or None. `parts` are its parts, the mail itself first."""
    text = next((text_of(part) for part in parts if part.get_content_type() == "text/plain"), "")[:_MAX_TEXT]
    told = _FAILED.search(text)
    names_failed = message.get("X-Failed-Recipients") is not None  # Exim
    if told is None and not names_failed:
        return None
    head = head_of(text)
    found = _ADDRESS.search(head)
    recipient = found[1] if found else str(message.get("X-Failed-Recipients", "")).strip()
    sentence = _sentence(head, recipient)
    status = _STATUS.search(sentence)
    kind = CallbackKind.DELAYED if _DELAYED.search(head) else CallbackKind.BOUNCED
    return Said(kind=kind, status=status[0] if status else None, sentence=sentence, recipient=recipient)


def head_of(text: str) -> str:
    """A text without the copy of the mail that some servers put below it."""
    copy = _COPY.search(text)
    return text if copy is None else text[: copy.start()]


def text_of(part: Message) -> str:
    """A part's text: whatever its type and transfer encoding; what cannot be decoded is replaced. May be empty.

    The parser takes `message/…` for mails within the mail, and does not decode them.
    """
    payload = part.get_payload()
    data: bytes
    if isinstance(payload, list):
        raw = b"\n\n".join(block.as_bytes() for block in payload if isinstance(block, Message))
        data = _unbase64(raw) if "base64" in str(part.get("Content-Transfer-Encoding", "")).lower() else raw
    else:
        decoded = part.get_payload(decode=True)
        data = decoded if isinstance(decoded, bytes) else b""
    try:
        return data.decode(part.get_content_charset() or "utf-8", "replace")
    except (LookupError, ValueError):  # a character set that nobody knows
        return data.decode("utf-8", "replace")


def _unbase64(raw: bytes) -> bytes:
    packed = b"".join(raw.split())
    try:
        return b64decode(packed + b"=" * (-len(packed) % 4))
    except Base64Error:
        return raw


def _sentence(head: str, recipient: str) -> str:
    """The line with a code in it; else the one after the failed recipient's, as qmail writes."""
    for line in (match[0].strip() for match in _LINE.finditer(head)):
        if (found := _SAID.search(line)) is not None:
            return line if line[found.start()] == "#" else line[found.start() :]
    after = head.partition(recipient)[2].partition("\n")[2] if recipient else ""
    following = _LINE.search(after)
    return following[0].strip() if following else ""
