"""Webhooks: what providers say after we have sent, by `POST /webhooks/{provider}`.

Each provider has a file that checks its signature and translates its words. What is forged or stale is answered 401,
what cannot be read 400, what is too large 413, an unknown or unconfigured provider 404; none of these touches the
database. 2xx is answered once everything is recorded, 503 when it cannot be: then the provider says it again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.bodies import Malformed, TooLarge, read_body
from api.http import respond
from domain.callbacks import Callback, Callbacks
from domain.errors import NotFound, Unauthenticated

MAX_BODY = 2 * 1024 * 1024
BODY_SECONDS = 10.0
MAX_EVENTS = 1_000
READ_AT_ONCE = 64 * 1024
"""Bytes of a body that are read without leaving the loop."""
FORGED = "This webhook's signature is not right."
T = TypeVar("T")


class Webhook(Protocol):
    """One provider's webhook."""

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Callback]:
        """What it says. Raises `Unauthenticated` for what is forged or stale, and `Malformed`."""


def webhook_route(webhooks: Mapping[str, Webhook], callbacks: Callbacks) -> Route:
    """The route; `webhooks` are those that are configured, by the provider's name."""

    async def receive(request: Request) -> Response:
        name = request.path_params["provider"]
        webhook = webhooks.get(name)
        if webhook is None:
            raise NotFound("webhook", name)
        body = await read_body(request, MAX_BODY, BODY_SECONDS)
        said = await _read(webhook, request.headers, body)
        if len(said) > MAX_EVENTS:
            raise TooLarge(f"At most {MAX_EVENTS:,} events are taken at once.")
        await callbacks.record(said)
        return respond({"events": len(said)}, "Recorded.")

    return Route("/webhooks/{provider}", receive, methods=["POST"])


async def _read(webhook: Webhook, headers: Mapping[str, str], body: bytes) -> Sequence[Callback]:
    """A thousand events take 20 ms to read: not on the loop that serves others."""
    now = datetime.now(UTC)
    if len(body) <= READ_AT_ONCE:
        return webhook.read(headers, body, now)
    return await asyncio.to_thread(webhook.read, headers, body, now)


def decoded(body: bytes, shape: type[T]) -> T:
    """The body as this shape; fields that are not in it do not matter. Raises `Malformed`."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("The body is not what this webhook takes.") from error


def require_fresh(timestamp: str, now: datetime, skew: float) -> None:
    """Raises `Unauthenticated` unless a Unix time is within `skew` seconds of now."""
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 11):
        raise Unauthenticated("This webhook's timestamp is not one.")
    if abs(now.timestamp() - int(timestamp)) > skew:
        raise Unauthenticated("This webhook is too old, or a clock is wrong.")


def moment(seconds: float) -> datetime:
    """A Unix time as a time. Raises `Malformed`."""
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except (OverflowError, ValueError) as error:
        raise Malformed("An event's timestamp is not one.") from error


def word(value: Any) -> str | None:
    """A field that should be a text but may be a number, or not there."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None
