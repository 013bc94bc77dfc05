"""What the answers of push providers have in common, and how it is read."""

import re

from workers.http_answer import asked_to_wait
from workers.http_pool import Reply

MAX_DETAIL = 300
QUOTA_PAUSE = 60.0
"""Seconds to wait after a 429 that has no Retry-After: what FCM asks for, and OneSignal counts its limits by."""


def shown(message: str, secret: str) -> str:
    """`message`, fit to be shown: short, and without the device token, in whatever casing."""
    return (re.sub(re.escape(secret), "[token]", message, flags=re.IGNORECASE) if secret else message)[:MAX_DETAIL]


def retry_after(reply: Reply, now: float) -> float | None:
    """The seconds that the provider asks for, if it does."""
    asked = asked_to_wait(reply.headers, now)
    return QUOTA_PAUSE if asked is None and reply.status == 429 else asked
