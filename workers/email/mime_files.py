"""The files of a mail as MIME: `multipart/mixed` around its text (RFC 2046), named by RFC 2183 and RFC 2231.

A file is large, and whatever handles it in one call keeps every other thread from running, the event loop's too. So it
stays in pieces of whole lines, and each piece is small.
"""

import re
from binascii import b2a_base64
from collections.abc import Iterator, Sequence
from hashlib import blake2s
from urllib.parse import quote

from domain.attachments import type_problem
from domain.outgoing import File

_CRLF = b"\r\n"
_LINE = 76
_OCTETS_A_LINE = _LINE // 4 * 3
_OCTETS_A_PIECE = 256 * _OCTETS_A_LINE
_QUOTABLE = re.compile(r"[!#-\[\]-~]([ !#-\[\]-~]{0,58}[!#-\[\]-~])?")
"""Printable ASCII without quotes and backslashes, short enough for a line; and not at an end, where a space is lost."""
_SECTION = 50  # characters of a name on one line
_ESCAPED = re.compile(r"(?:%[0-9A-F]{2}|[^%])")


def base64_lines(content: bytes) -> Iterator[bytes]:
    """`content` in base64 (RFC 2045, 6.8), piece by piece: some 20 kB each, of whole lines."""
    for start in range(0, len(content), _OCTETS_A_PIECE):
        encoded = b2a_base64(content[start : start + _OCTETS_A_PIECE], newline=False)
        yield _CRLF.join([*(encoded[at : at + _LINE] for at in range(0, len(encoded), _LINE)), b""])


def boundary_for(message_id: str, content: bytes) -> bytes:
    """A boundary that is not in `content`, the same for equal mails."""
    boundary = b"=_" + blake2s(message_id.encode(), digest_size=16).hexdigest().encode()
    while boundary in content:
        boundary += b"_"
    return boundary


def with_files(head: bytes, body: bytes, files: Sequence[File], message_id: str) -> tuple[bytes, ...]:
    """The mail of that head and body with its files, in pieces. Raises ValueError for what no part can be called."""
    boundary = boundary_for(message_id, body)  # in base64 there is no "_"
    delimiter = b"--" + boundary
    front = b'Content-Type: multipart/mixed;\r\n boundary="' + boundary + b'"\r\n\r\n' + delimiter + _CRLF
    message = [head + front + body]
    for file in files:
        message[-1] += _CRLF + delimiter + _CRLF + _described(file)
        message += [*file.lines, b""]
    message[-1] += _CRLF + delimiter + b"--\r\n"
    return tuple(message)


def _described(file: File) -> bytes:
    if problem := type_problem(file.content_type):
        raise ValueError(f"The type of a file {problem}.")
    lines = (
        f"Content-Type: {file.content_type}",
        "Content-Transfer-Encoding: base64",
        f"Content-Disposition: attachment;{_named(file.filename)}",
    )
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _named(filename: str) -> str:
    """The parameter `filename`, on lines of its own: quoted where that is possible, else as RFC 2231 has it."""
    if _QUOTABLE.fullmatch(filename) and "=?" not in filename:
        return f'\r\n filename="{filename}"'
    escaped = quote(filename, safe="", encoding="utf-8")
    sections, section = [], ""
    for character in _ESCAPED.findall(escaped):
        if len(section) + len(character) > _SECTION:
            sections.append(section)
            section = ""
        section += character
    sections.append(section)
    charset = ["utf-8''", *[""] * (len(sections) - 1)]
    numbered = (f"filename*{number}*={charset[number]}{text}" for number, text in enumerate(sections))
    return "".join(f"\r\n {parameter};" for parameter in numbered).rstrip(";")
