"""What ties the parts of one request together in logs and messages: the correlation id and its companions."""

import re
from contextvars import ContextVar

from domain.ids import CORRELATION, new_id

_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)
traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
role: ContextVar[str | None] = ContextVar("role", default=None)


def sane_correlation_id(candidate: str | None) -> str:
    """What the caller gave if it is fit for headers and logs, else a new one."""
    return candidate if candidate and _SANE.fullmatch(candidate) else new_id(CORRELATION)


def sane_traceparent(candidate: str | None) -> str | None:
    """A W3C traceparent header (Trace Context, section 3.2), or None."""
    return candidate if candidate and _TRACEPARENT.fullmatch(candidate) else None


def mask(contact_point: str) -> str:
    """A contact point as it may stand in a log: enough to recognise, not enough to use."""
    local, at, domain = contact_point.rpartition("@")
    if at:
        return f"{local[:1]}***@{domain}"
    return f"{contact_point[:4]}***" if len(contact_point) > 8 else "***"
