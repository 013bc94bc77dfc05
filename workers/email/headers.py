"""Header fields as they go on the wire: folded, encoded, and safe against injection (RFC 5322, 2047, 6532).

Every function answers with a field without its final CRLF and raises ValueError for a value that no field can hold.
"""

import re
from binascii import b2a_base64
from functools import lru_cache

import idna

from domain.recipient import email_problem

MAX_LINE = 998
"""Octets of a line without its CRLF that no mail may exceed (RFC 5322, 2.1.1)."""

_LINE = 78  # what a line should not exceed
_ENCODED_LINE = 76  # the same for a line with an encoded word (RFC 2047, 2)
_ENCODED_WORD = "=?utf-8?b?{}?="
_AROUND = len(_ENCODED_WORD.format(""))
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+( [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_NAME = re.compile(r"[!-9;-~]{1,50}")
_BREAKS = re.compile(r"[\r\n\0]")
_MAX_QUOTED = 60  # a longer name becomes encoded words, which can be folded


def refuse_breaks(value: str) -> str:
    """`value` itself, or ValueError: with a CR, LF or NUL it could begin another field."""
    if _BREAKS.search(value):
        raise ValueError("A header must not hold CR, LF or NUL.")
    return value


def subject(value: str) -> str:
    """The Subject field. What is not plain ASCII, or cannot be folded as it is, becomes encoded words."""
    if _is_plain(value):
        line = f"Subject: {value}"
        if len(line) <= _LINE:
            return line
        if "  " not in value and max(map(len, value.split(" "))) <= _LINE - len("Subject: "):
            return _folded("Subject", value)
    return _encoded_field("Subject", value)


def field(name: str, value: str) -> str:
    """Any other field. ASCII is kept as it is, folded at spaces: it may be structured, such as a list of URLs."""
    if not _NAME.fullmatch(name):
        raise ValueError("A header name is 1 to 50 printable ASCII characters without a colon.")
    if not _is_plain(value):
        return _encoded_field(name, value)
    if len(name) + len(value) + 2 <= _LINE or "  " in value:
        return _within_limit(f"{name}: {value}")
    return _within_limit(_folded(name, value))


def mailbox(name: str, display_name: str | None, address: str) -> str:
    """A field with one mailbox, such as `To: Ada Lovelace <ada@example.com>`.

    Runs of white space in the display name become one space, which is what they mean in a phrase.
    """
    address = wire_address(address)
    words = " ".join(refuse_breaks(display_name or "").split())
    if not words:
        return f"{name}: {address}"
    line = f"{name}: {_phrase(words, len(name) + 2)}"
    room = _LINE - (len(line) - line.rfind("\n") - 1)
    return f"{line} <{address}>" if len(address) + 3 <= room else f"{line}\r\n <{address}>"


sender = lru_cache(maxsize=256)(mailbox)
"""`mailbox` for what is the same in mail after mail."""


def wire_address(address: str) -> str:
    """An address as envelope and headers spell it: an international domain in its ASCII form (IDNA 2008).

    An address with more than ASCII before the @ stays as it is; it needs SMTPUTF8 anyway.
    """
    if problem := email_problem(address):
        raise ValueError(f"The address {problem}.")
    if address.isascii():
        return address
    local, _, domain = address.rpartition("@")
    return f"{local}@{_ascii_domain(domain)}" if local.isascii() else refuse_breaks(address)


@lru_cache(maxsize=1024)
def _ascii_domain(domain: str) -> str:
    return idna.encode(domain, uts46=True).decode("ascii")


def _is_plain(value: str) -> bool:
    """Printable ASCII that a reader takes for what it is: no space at an end, nothing like an encoded word."""
    refuse_breaks(value)
    return value.isascii() and value.isprintable() and "=?" not in value and value == value.strip(" ")


def _phrase(words: str, column: int) -> str:
    if words.isascii() and words.isprintable() and "=?" not in words and len(words) <= _MAX_QUOTED:
        if _ATOMS.fullmatch(words):
            return words
        escaped = words.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return _encoded_words(words, column)


@lru_cache(maxsize=1024)
def _encoded_field(name: str, value: str) -> str:
    return f"{name}: {_encoded_words(value, len(name) + 2)}"


def _encoded_words(text: str, column: int) -> str:
    """`text` as encoded words, one a line, where `column` characters stand already. Characters are never split."""
    data = text.encode()
    words, start, room = [], 0, _ENCODED_LINE - column
    while start < len(data):
        end = _character_end(data, start + (room - _AROUND) // 4 * 3)
        words.append(_ENCODED_WORD.format(b2a_base64(data[start:end], newline=False).decode("ascii")))
        start, room = end, _ENCODED_LINE - 1
    return "\r\n ".join(words)


def _character_end(data: bytes, end: int) -> int:
    while end < len(data) and data[end] & 0xC0 == 0x80:
        end -= 1
    return end


def _folded(name: str, value: str) -> str:
    """Broken before spaces; the first word stays beside the name, since some readers lose a value that does not."""
    first, *rest = value.split(" ")
    lines, line = [], f"{name}: {first}"
    for word in rest:
        if len(line) + 1 + len(word) > _LINE:
            lines.append(line)
            line = ""
        line += f" {word}"
    return "\r\n".join([*lines, line])


def _within_limit(folded: str) -> str:
    if len(folded) > MAX_LINE and max(map(len, folded.split("\r\n"))) > MAX_LINE:
        raise ValueError(f"A header has a word longer than {MAX_LINE} characters.")
    return folded
