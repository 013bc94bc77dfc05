"""A body is read to its end, up to a bound, and not for ever."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import Request

from api.bodies import Malformed, TooLarge, TooSlow, read_body
from domain.errors import RequestError


def request(*messages: dict[str, Any], length: str | None = None) -> Request:
    """A request whose body comes in these messages, and then no more."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    headers = [] if length is None else [(b"content-length", length.encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


def part(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_all_parts_are_one_body() -> None:
    assert await read_body(request(part(b"ab"), part(b"c", more=False), length="3"), 3, 5.0) == b"abc"


@pytest.mark.parametrize(
    ("messages", "length", "seconds", "error", "status"),
    [
        ([], "4", 5.0, TooLarge, 413),
        ([], "many", 5.0, TooLarge, 413),
        ([part(b"ab"), part(b"cd")], None, 5.0, TooLarge, 413),
        ([part(b"ab"), {"type": "http.disconnect"}], None, 5.0, Malformed, 400),
        ([part(b"ab")], None, 0.01, TooSlow, 408),
    ],
)
async def test_what_is_too_much_too_short_or_too_slow_is_refused(
    messages: Sequence[dict[str, Any]], length: str | None, seconds: float, error: type[RequestError], status: int
) -> None:
    with pytest.raises(error) as caught:
        await read_body(request(*messages, length=length), 3, seconds)
    assert caught.value.http_status == status
