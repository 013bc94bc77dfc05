"""When a mail server refuses the address itself, and not this mail, this sender or today.

Only that says that the address takes nothing, ever. Servers say it by an enhanced status code (RFC 3463), the older
ones by words. Whatever may be meant otherwise is not taken for it: an address that is suppressed by mistake costs its
owner every mail after this one.
"""

import re

_ENHANCED = re.compile(r"\s*(\d\.\d{1,3}\.\d{1,3})(?![\d.])")
_NO_SUCH_ADDRESS = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
"""No such mailbox, no such domain, no address at all, moved away, no mail wanted (RFC 7505), mailbox switched off."""
_SAYS_NOTHING = "5.0.0"
_UNKNOWN_REPLY = 550

_WHO = r"(?:user|mailbox|recipient|account|address)"
_UNKNOWN = re.compile(
    rf"""\b(?: no\ such\ (?:\w+\ )?{_WHO} | unknown\ (?:\w+\ )?{_WHO} | invalid\ (?:mailbox|recipient)
    | {_WHO}\ (?:\S+\ )?(?:is\ |was\ )?(?:unknown|not\ found|does\ not\ exist|doesn't\ exist|not\ known) )\b""",
    re.IGNORECASE | re.VERBOSE,
)
_SOMETHING_ELSE = re.compile(
    r"sender|relay|polic|spam|block|black|reputation|denied|authenticat|full|quota", re.IGNORECASE
)
"""Words of a refusal that is about more than whether the address exists."""


def refuses_address(code: int, text: str) -> bool:
    """Whether this reply to RCPT, which is a permanent refusal, says that there is no such address."""
    found = _ENHANCED.match(text)
    if found is not None and found[1] != _SAYS_NOTHING:
        return found[1] in _NO_SUCH_ADDRESS
    return code == _UNKNOWN_REPLY and _UNKNOWN.search(text) is not None and _SOMETHING_ELSE.search(text) is None
