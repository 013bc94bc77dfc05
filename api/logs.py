"""Logging: one line an event, JSON for machines or text for people, always with role and correlation id.

The code logs through the standard library; structlog renders, but for the steps of `domain.life`, of which there are
many. Addresses and tokens are masked where they are logged, and as a last resort in what is about to be written: the
text of an exception may repeat what a mail server said. docs/observability.md has the fields.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from api.log_lines import LineFormatter
from domain.telemetry import correlation_id, masked, notification_id, role, traceparent

_QUIET = (
    "aio_pika",
    "aiormq",
    "aiosmtplib",
    "asyncio",
    "httpx",
    "httpcore",
    "opentelemetry",
    "tortoise",
    "mail.log",
    "urllib3",
    "uvicorn",
)
_FREE_TEXT = ("event", "exception", "stack")


def configure_logging(level: str, style: str) -> None:
    """Set up logging for this process, to standard error. `style` is `json` or `text`. May be called again."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_context,
    ]
    final: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        _mask,
        _renderer(style),
    ]
    handler = logging.StreamHandler(sys.stderr)
    others = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final)
    handler.setFormatter(LineFormatter(others, json=style == "json"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _renderer(style: str) -> structlog.typing.Processor:
    """A traceback is plain: a pretty one shows the values of variables, and with them addresses and tokens."""
    if style == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)


def _mask(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in _FREE_TEXT:
        if isinstance(text := event.get(name), str):
            event[name] = masked(text)
    return event


def _add_context(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if (known := correlation_id.get()) is not None:
        event["correlation_id"] = known
    if (about := notification_id.get()) is not None:
        event["notification_id"] = about
    if (trace := traceparent.get()) is not None:
        event["trace_id"] = trace[3:35]
    if (name := role.get()) is not None:
        event["role"] = name
    return event
