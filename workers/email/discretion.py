"""What a provider said, fit to be shown: one line, and nothing in it that tells who the recipient is."""

import re

from domain.outgoing import OutgoingEmail

MAX_DETAIL = 300

_ADDRESS = re.compile(r"\S*(?:@|%40)\S*")
_LEAST = 3
"""A shorter local part or name is a word of any sentence."""


def discreet(said: str, mail: OutgoingEmail) -> str:
    """`said` on one line, without any address, and without the recipient's name or what stands before their @."""
    text = _ADDRESS.sub("(address)", "".join(char if char.isprintable() else " " for char in said))
    local = mail.to.rpartition("@")[0]
    for hidden, stands_in in ((local, "(address)"), (local.partition("+")[0], "(address)"), (mail.to_name, "(name)")):
        if hidden is not None and len(hidden) >= _LEAST:
            text = re.sub(rf"(?<!\w){re.escape(hidden)}(?!\w)", stands_in, text, flags=re.IGNORECASE)
    return " ".join(text.split())
