"""The parts of a mail, and the files among them. How deep they go, and what they say of themselves, is the sender's
choice: nothing here recurses, and nothing is believed."""

from collections.abc import Iterator
from email.message import Message

import msgspec

MAX_PARTS = 100
MAX_NAME = 255
UNNAMED = "attachment"


class MailFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that came with a mail, as the mail describes it; `size` in bytes."""

    filename: str
    content_type: str
    size: int


def parts_of(message: Message) -> Iterator[Message]:
    """The first parts, in order."""
    waiting: list[Message] = [message]
    for _ in range(MAX_PARTS):
        if not waiting:
            return
        part = waiting.pop()
        yield part
        inner = part.get_payload() if part.is_multipart() else []
        if isinstance(inner, list):
            waiting.extend(each for each in reversed(inner) if isinstance(each, Message))


def is_file(part: Message) -> bool:
    """Whether it is to be kept and not shown."""
    return not part.is_multipart() and part.get_content_disposition() == "attachment"


def files_of(message: Message) -> list[tuple[MailFile, bytes]]:
    """The files, in order, with what is in them."""
    return [_file(part) for part in parts_of(message) if is_file(part)]


def _file(part: Message) -> tuple[MailFile, bytes]:
    data = part.get_payload(decode=True)
    content = data if isinstance(data, bytes) else b""
    name = str(part.get_filename(failobj="")).encode("utf-8", "replace").decode()
    shown = "".join(char if char.isprintable() else "_" for char in name).strip()[:MAX_NAME] or UNNAMED
    return MailFile(filename=shown, content_type=part.get_content_type(), size=len(content)), content
