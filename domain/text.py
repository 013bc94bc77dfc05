"""Text that every part of the system can hold: PostgreSQL takes no NUL, and no encoding takes a lone surrogate."""

import re

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_ADDRESS = re.compile(r"[^\s<>()\"',;:@]+@[^\s<>()\"',;:@]+")


def storable(text: str) -> bool:
    """Whether every part of the system can hold it."""
    return _UNSTORABLE.search(text) is None


def cleaned(text: str | None) -> str | None:
    """What a stranger (a mail server, say) told us, made storable; None stays None."""
    return None if text is None else _UNSTORABLE.sub("\ufffd", text)


def anonymous(text: str | None, limit: int = 300) -> str | None:
    """`cleaned`, on one line, without addresses and cut to `limit` characters: fit to be shown; nothing stays None."""
    if text is None:
        return None
    # Cut first: looking for addresses in a word takes the square of its length.
    line = " ".join((cleaned(text[: 4 * limit]) or "").split())
    return _ADDRESS.sub("(address)", line)[:limit] or None
