"""What the answers of push providers have in common, and how it is read."""

import json
import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from workers.push.transport import Reply

MAX_DETAIL = 300
QUOTA_PAUSE = 60.0
"""Seconds to wait after a 429 that has no Retry-After: what FCM asks for, and OneSignal counts its limits by."""


def shown(message: str, secret: str) -> str:
    """`message`, fit to be shown: short, and without the device token, in whatever casing."""
    return (re.sub(re.escape(secret), "[token]", message, flags=re.IGNORECASE) if secret else message)[:MAX_DETAIL]


def retry_after(reply: Reply, now: float) -> float | None:
    """Retry-After (RFC 9110, section 10.2.3), in seconds from now: a number of seconds, or a date."""
    asked = reply.headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked)
    try:
        return max(0.0, parsedate_to_datetime(asked).replace(tzinfo=UTC).timestamp() - now)
    except ValueError:
        return QUOTA_PAUSE if reply.status == 429 else None


def json_object(body: bytes) -> dict[str, Any]:
    """The object of a body; empty when it is none."""
    try:
        content = json.loads(body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
