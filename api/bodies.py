"""Reading a request's body, with a bound and a deadline."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from domain.errors import RequestError


class Malformed(RequestError):
    """It cannot be read."""

    code = "BAD_REQUEST"


class TooLarge(RequestError):
    """There is more of it than is taken."""

    code = "TOO_LARGE"
    http_status = 413


class TooSlow(RequestError):
    """It did not come in time."""

    code = "REQUEST_TIMEOUT"
    http_status = 408


async def read_body(request: Request, limit: int, seconds: float) -> bytes:
    """The whole body. Raises `TooLarge` above `limit` bytes, at once where that is announced, `TooSlow` when it takes
    longer than `seconds`, and `Malformed` when it ends too early."""
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > limit:
        raise TooLarge(f"The body is larger than {limit:,} bytes.")
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise TooLarge(f"The body is larger than {limit:,} bytes.")
    except ClientDisconnect as error:
        raise Malformed("The body ended too early.") from error
    except TimeoutError as error:
        raise TooSlow("The body took too long.") from error
    return bytes(body)
