"""A client of one subscription: graphql-transport-ws, on a socket of its own."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

OPEN_SECONDS = 10.0
PING_SECONDS, PONG_SECONDS = 10.0, 15.0
"""A gateway that says nothing is asked whether it is there; the connection is lost when it is not."""
CLOSE_SECONDS = 1.0

PASSING_CODES = frozenset({1000, 1001, 1005, 1006, 1012, 1013, 4408})
"""What the gateway closes with where coming back helps; see docs/live-status.md."""
PASSING_ERRORS = frozenset({"RATE_LIMITED", "UPSTREAM_UNAVAILABLE"})


class Lost(Exception):
    """The connection, not the subscription, is over: come back and go on. The text says what happened."""


class Refused(Exception):
    """The gateway will not have it, now or later. The text says why; `code` is that of the error, where it has one."""

    def __init__(self, message: str, code: str | None = None) -> None:
        self.code = code
        super().__init__(message)


async def results(
    url: str, key: str, query: str, variables: Mapping[str, Any], connected: Callable[[], None] = lambda: None
) -> AsyncGenerator[Any, None]:
    """What the one field of a subscription yields, until the gateway says that it is complete. Close the generator.

    `url` is the gateway's, as for HTTP; `connected` is called when it has let us in. Raises `Lost` and `Refused`.
    """
    try:
        async with _greeted(url, key) as socket:
            connected()
            await _say(socket, {"id": "1", "type": "subscribe", "payload": {"query": query, "variables": variables}})
            async for frame in socket:
                message = json.loads(frame)
                if message["type"] == "complete":
                    return
                if message["type"] in ("next", "error"):
                    yield _result(message)
        raise Lost("the gateway left")
    except ConnectionClosed as closed:
        raise _closed(closed) from closed
    except InvalidStatus as refused:
        raise _not_let_in(refused.response.status_code) from refused
    except (TimeoutError, EOFError, OSError, InvalidHandshake) as error:
        raise Lost(str(error) or "nobody answers") from error
    except (InvalidURI, ValueError, KeyError, TypeError) as error:
        raise Refused("what answers there is no gateway") from error


@asynccontextmanager
async def _greeted(url: str, key: str) -> AsyncIterator[ClientConnection]:
    """A socket on which an operation may begin."""
    address = "ws" + url.removeprefix("http").rstrip("/") + "/graphql"
    async with connect(
        address,
        subprotocols=[Subprotocol("graphql-transport-ws")],
        additional_headers={"Authorization": f"Bearer {key}"},
        open_timeout=OPEN_SECONDS,
        ping_interval=PING_SECONDS,
        ping_timeout=PONG_SECONDS,
        close_timeout=CLOSE_SECONDS,
    ) as socket:
        async with asyncio.timeout(OPEN_SECONDS):
            await _say(socket, {"type": "connection_init"})
            while json.loads(await socket.recv())["type"] != "connection_ack":
                pass
        yield socket


async def _say(socket: ClientConnection, message: Mapping[str, Any]) -> None:
    await socket.send(json.dumps(message))


def _result(message: Mapping[str, Any]) -> Any:
    payload = message["payload"]
    errors = payload if message["type"] == "error" else payload.get("errors")
    if not errors:
        (result,) = payload["data"].values()
        return result
    text, code = str(errors[0]["message"]), (errors[0].get("extensions") or {}).get("code")
    raise Lost(text) if code in PASSING_ERRORS else Refused(text, code)


def _closed(closed: ConnectionClosed) -> Lost | Refused:
    """What the gateway did not say itself (it died, it answered no ping) is a connection that broke."""
    if closed.rcvd is None or closed.rcvd.code in PASSING_CODES:
        return Lost((closed.rcvd.reason or "the gateway left") if closed.rcvd else "it ended without a word")
    return Refused(closed.rcvd.reason or f"the gateway closed the connection ({closed.rcvd.code})")


def _not_let_in(status: int) -> Lost | Refused:
    """A proxy says 5xx while no gateway stands behind it."""
    if status >= 500 or status in (408, 429):
        return Lost(f"HTTP {status}")
    return Refused(f"what answers there is no gateway (HTTP {status})")
