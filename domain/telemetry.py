"""What ties the parts of one request together in logs and messages: the correlation id and its companions."""

import re
from contextvars import ContextVar

from domain.ids import CORRELATION, new_id

_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_ADDRESS = re.compile(r"(?:\"[^\"\n]{1,64}\"|[^\s<>()\[\]{}\"',;:/@]{1,256})@[^\s<>()\[\]{}\"',;:/@]{1,256}")
_TOKEN = re.compile(
    r"\bhg_\w{8,}"  # our API keys
    r"|\beyJ[\w-]{8,}(?:\.[\w-]+)*"  # JSON Web Tokens
    r"|(?<=Bearer )[^\s\"',]+"
    r"|\b(?=[A-Za-z_-]*\d)[\w-]{22,}:[\w-]{41,}"  # FCM registration tokens
    r"|\b(?=[A-Za-z_-]*\d)[\w-]{41,}"
)

correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)
traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
notification_id: ContextVar[str | None] = ContextVar("notification_id", default=None)
role: ContextVar[str | None] = ContextVar("role", default=None)


def sane_correlation_id(candidate: str | None) -> str:
    """What the caller gave if it is fit for headers and logs, else a new one."""
    return candidate if candidate and _SANE.fullmatch(candidate) else new_id(CORRELATION)


def sane_traceparent(candidate: str | None) -> str | None:
    """A W3C traceparent header (Trace Context, section 3.2), or None."""
    return candidate if candidate and _TRACEPARENT.fullmatch(candidate) else None


def speak_of(correlation: str, notification: str, trace: str | None) -> None:
    """From here on this task, and what it starts, works on this notification: its log lines and calls say so."""
    correlation_id.set(correlation)
    notification_id.set(notification)
    traceparent.set(trace)


def mask(contact_point: str) -> str:
    """A contact point as it may stand in a log: enough to recognise, not enough to use."""
    local, at, domain = contact_point.rpartition("@")
    if at:
        return f"{local[:1]}***@{domain}"
    return f"{contact_point[:4]}***" if len(contact_point) > 8 else "***"


def masked(text: str) -> str:
    """`text` with every e-mail address, password of a URL, key and long token in it masked.

    The last resort, for the texts of other people's exceptions: what we write ourselves is masked where it is written.
    Our ids are shorter than what counts as a token. A token that looks like an id (a UUID) cannot be told from one.
    """
    if "@" in text:
        text = _ADDRESS.sub(lambda found: mask(found[0]), text)
    return _TOKEN.sub(lambda found: mask(found[0]), text)
