"""What providers that are called over HTTP say alike: how long to wait, and JSON that may be anything."""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

MAX_WAIT = 24 * 3600.0
_EPOCH = 1_000_000_000
"""A larger number of seconds is a time and no duration."""
_MILLISECONDS = 100_000_000_000
"""A larger time is in milliseconds."""


def asked_to_wait(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds that a provider asks for, a day at most; None where it does not say, or nothing that makes sense.

    Retry-After (RFC 9110, section 10.2.3: seconds or a date) before X-RateLimit-Reset, which is a time since the epoch
    in seconds or milliseconds with some providers and a number of seconds with others. `now` is in seconds since the
    epoch, header names are in lower case.
    """
    after = headers.get("retry-after", "").strip()
    seconds = _number(after)
    if seconds is None and after:
        seconds = _until_date(after, now)
    if seconds is None:
        seconds = _until_reset(_number(headers.get("x-ratelimit-reset", "").strip()), now)
    return None if seconds is None else min(max(0.0, seconds), MAX_WAIT)


def json_object(body: bytes) -> dict[str, Any]:
    """The object that `body` holds; empty for whatever else it is."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _number(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _until_date(text: str, now: float) -> float | None:
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError):
        return None


def _until_reset(reset: float | None, now: float) -> float | None:
    if reset is None or reset < _EPOCH:
        return reset
    return (reset / 1000 if reset >= _MILLISECONDS else reset) - now
