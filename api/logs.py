"""Logging: one line an event, JSON for machines or text for people, always with role and correlation id.

The code logs through the standard library; structlog renders. Addresses and tokens are masked where they are logged.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from domain.telemetry import correlation_id, role

_QUIET = ("aio_pika", "aiormq", "aiosmtplib", "asyncio", "httpx", "httpcore", "tortoise", "mail.log", "uvicorn")


def configure_logging(level: str, style: str) -> None:
    """Set up logging for this process, to standard error. `style` is `json` or `text`. May be called again."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_context,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if style == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    final: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if style == "json":
        final.append(structlog.processors.format_exc_info)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[*final, renderer]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _add_context(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if (known := correlation_id.get()) is not None:
        event["correlation_id"] = known
    if (name := role.get()) is not None:
        event["role"] = name
    return event
