"""What a mail server says, made fit to be shown: one line, without anybody's address."""

import re

_ADDRESS = re.compile(r"\S*(?:@|%40)\S*")
_SHORTEST_NAME = 3
"""Characters of a name before the @ that are taken out by themselves too; shorter ones are in too many words."""


def without_address(text: str, recipient: str) -> str:
    """`text` on one line, with `(address)` for every address and for the recipient's name before the @."""
    text = _ADDRESS.sub("(address)", "".join(char if char.isprintable() else " " for char in text))
    local = recipient.rpartition("@")[0]
    for name in (local, local.partition("+")[0]):
        if len(name) >= _SHORTEST_NAME:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "(address)", text, flags=re.IGNORECASE)
    return " ".join(text.split())
