"""How a mail server says "not so fast".

SMTP has no reply of its own for a rate limit, and no Retry-After. Servers say it with a 4xx reply and in words: those
of Postfix, Exim, Exchange, Gmail, Yahoo and Amazon SES are below. A full mailbox, greylisting or a server that is busy
is no rate limit.
"""

import re

_CODES = re.compile(r"\s*4\.7\.28(?!\d)")
"""Gmail's "unusual rate of mail"."""
_WORDS = re.compile(
    r"""rate[ -]?limit | rate\ (of|exceeded|control) | (sending|message|connection)\ rate | throttl
    | too\ much\ mail | too\ (quickly|fast)
    | too\ many\ (\w+\ ){0,2}(connections|sessions|messages|mails|e-?mails|recipients|requests|logins?) """,
    re.IGNORECASE | re.VERBOSE,
)


def is_rate_limit(code: int, text: str) -> bool:
    """Whether a reply puts us off because of how much we send, and not because of this mail."""
    return code // 100 == 4 and (_CODES.match(text) is not None or _WORDS.search(text) is not None)
