"""Attachments of a mail: named by a URL when it is accepted, fetched by the Email Service when it is sent.

The URL must be one that everybody could fetch, on the public internet and by https; hosts of one's own can be allowed
beside. What becomes part of a mail's header, the file's name and type, is held to what a header can carry.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator
from urllib.parse import unquote, urlsplit

import msgspec

from domain.errors import FieldProblem
from domain.notification import Channel
from domain.text import storable
from domain.urls import fetch_problem, host_and_port

MAX_ATTACHMENTS = 10
MAX_FILENAME_BYTES = 255
MAX_TYPE_CHARACTERS = 127
MAX_URL_CHARACTERS = 2048
UNNAMED = "attachment"
ANY_TYPE = "application/octet-stream"

_WORD = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*"
_TYPE = re.compile(rf"{_WORD}/{_WORD}")
_COMPOSITE = ("multipart/", "message/")
"""Types that base64 may not carry (RFC 2045, 6.4)."""
_NOT_IN_NAMES = re.compile(r'[/\\"\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]')
"""Paths, the end of a quoted name, control characters, and what makes `gpj.exe` look like `exe.jpg`."""


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """A file by reference. `content_type` None: what the server that has it says."""

    url: str
    filename: str
    content_type: str | None = None


class AttachmentRef(msgspec.Struct, frozen=True, kw_only=True):
    """The same as a caller gives it: the name may be left out."""

    url: str
    filename: str | None = None
    content_type: str | None = None

    def named(self) -> Attachment:
        """With a name. The reference has been found in order."""
        filename = filename_of(self.url) if self.filename is None else self.filename
        content_type = None if self.content_type is None else self.content_type.lower()
        return Attachment(url=self.url, filename=filename, content_type=content_type)


def attachment_problems(
    refs: Collection[AttachmentRef], channels: Collection[Channel] | None, hosts: Collection[str]
) -> Iterator[FieldProblem]:
    """What is wrong with them, in order. `channels` are those that were asked for, `hosts` those allowed beside public
    ones."""
    if len(refs) > MAX_ATTACHMENTS:
        yield FieldProblem(("attachments",), "size", f"takes {MAX_ATTACHMENTS} attachments at most, not {len(refs)}")
        return
    if refs and channels is not None and Channel.EMAIL not in channels:
        yield FieldProblem(("attachments",), "channel", "goes with EMAIL only, which is not among the channels")
    for index, ref in enumerate(refs):
        path = ("attachments", str(index))
        checks = (
            ("url", "url", url_problem(ref.url, hosts)),
            ("filename", "filename", None if ref.filename is None else filename_problem(ref.filename)),
            ("content_type", "content_type", None if ref.content_type is None else type_problem(ref.content_type)),
        )
        yield from (FieldProblem((*path, name), code, problem) for name, code, problem in checks if problem)


def url_problem(url: str, hosts: Collection[str] = ()) -> str | None:
    """Why nothing is fetched from there, or None. Asks nobody: what the name leads to is seen when it is fetched."""
    if len(url) > MAX_URL_CHARACTERS:
        return f"is longer than {MAX_URL_CHARACTERS:,} characters"
    if not storable(url):
        return "holds a NUL or half of a surrogate pair"
    allowed = is_allowed(url, hosts)
    problem = fetch_problem(url, anywhere=allowed)
    if problem is None and not allowed and urlsplit(url).scheme != "https":
        return "takes an https URL"
    return problem


def is_allowed(url: str, hosts: Collection[str]) -> bool:
    """Whether the URL's host, or its `host:port`, is one of `hosts`."""
    place = host_and_port(url)
    return place is not None and (place[0] in hosts or f"{place[0]}:{place[1]}" in hosts)


def filename_problem(name: str) -> str | None:
    """Why no mail can carry a file of that name, or None."""
    if name.strip() in ("", ".", ".."):
        return "is empty, or no name of a file"
    if name != name.strip():
        return "takes a name without spaces at its ends"
    if _NOT_IN_NAMES.search(name):
        return "takes a name without a path, quotes and control characters"
    if len(name.encode()) > MAX_FILENAME_BYTES:
        return f"is longer than {MAX_FILENAME_BYTES} bytes"
    return None


def type_problem(content_type: str) -> str | None:
    """Why that is no type of a file, or None."""
    if len(content_type) > MAX_TYPE_CHARACTERS or not _TYPE.fullmatch(content_type):
        return "takes a type such as application/pdf, without parameters"
    if content_type.lower().startswith(_COMPOSITE):
        return "is a type that holds other parts; send it as application/octet-stream"
    return None


def filename_of(url: str) -> str:
    """The last part of the URL's path, made a name that a mail can carry."""
    last = unquote(urlsplit(url).path.rpartition("/")[2], errors="replace")
    name = _NOT_IN_NAMES.sub("_", unicodedata.normalize("NFC", last)).strip()
    stem, dot, extension = name.rpartition(".")
    if len(name.encode()) > MAX_FILENAME_BYTES:
        kept = dot + extension if dot and len(extension.encode()) <= 20 else ""
        room = MAX_FILENAME_BYTES - len(kept.encode())
        name = (stem if kept else name).encode()[:room].decode(errors="ignore").strip() + kept
    return UNNAMED if filename_problem(name) else name


def served_type(header: str) -> str:
    """The type that a server's Content-Type names, without its parameters; any type where it is none."""
    given = header.partition(";")[0].strip().lower()
    return ANY_TYPE if type_problem(given) else given
