"""What a provider said, fit to be shown: one line, and nothing in it that tells who the recipient is."""

import re

from domain.outgoing import OutgoingEmail

MAX_DETAIL = 300

_ADDRESS = re.compile(r"\S*(?:@|%40)\S*")
_LEAST = 3
"""A shorter local part or name is a word of any sentence."""


def discreet(said: str, mail: OutgoingEmail) -> str:
    """`said` without any address, and without the recipient's name."""
    return _without(without_address(said, mail.to), mail.to_name, "(name)")


def without_address(said: str, recipient: str) -> str:
    """`said` on one line, without any address, and without what stands before the recipient's @."""
    text = _ADDRESS.sub("(address)", "".join(char if char.isprintable() else " " for char in said))
    local = recipient.rpartition("@")[0]
    for hidden in (local, local.partition("+")[0]):
        text = _without(text, hidden, "(address)")
    return " ".join(text.split())


def _without(text: str, hidden: str | None, stands_in: str) -> str:
    if hidden is None or len(hidden) < _LEAST:
        return text
    return re.sub(rf"(?<!\w){re.escape(hidden)}(?!\w)", stands_in, text, flags=re.IGNORECASE)
