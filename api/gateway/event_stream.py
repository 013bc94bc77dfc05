"""Server-sent events on one HTTP connection: their form, what keeps the connection alive, and what ends it."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.gateway.media_types import EVENTS_TYPE
from api.gateway.sockets import Sockets
from api.security import Principal
from api.stopping import STOPPING, Stopping

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 12.0
COMMENT = b":\n\n"
COMPLETE = b"event: complete\ndata:\n\n"
"""The empty `data` is there for browsers, which pass over an event without one."""
HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no", "Vary": "Accept, Authorization"}


def next_event(result: bytes, id: str | None = None) -> bytes:
    """One result, in JSON on one line. A client that comes back names the last `id` that it has seen."""
    named = b"" if id is None else b"id: %b\n" % id.encode()
    return b"event: next\n%bdata: %b\n\n" % (named, result)


def whole_stream(payload: Mapping[str, Any]) -> Response:
    """The stream of an operation that has one result, which is there already."""
    return Response(next_event(orjson.dumps(payload)) + COMPLETE, headers=HEADERS, media_type=EVENTS_TYPE)


class EventStream(Response):
    """Sends what `frames` yields, one after the other, for as long as its credential lives; see `shut_out`.

    It takes the next frame only when the client has taken the last one, so it holds one at most. `frames` is closed,
    and nothing is left behind, when it ends, the client leaves, or the server stops. In the last case the client gets
    no `complete`: it may come back and go on.
    """

    def __init__(self, frames: AsyncGenerator[bytes, None], sockets: Sockets, principal: Principal) -> None:
        self.status_code, self.media_type, self.background = 200, EVENTS_TYPE, None
        self.init_headers(HEADERS)
        self._frames, self._sockets, self._principal = frames, sockets, principal
        self._shut_out: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._idle = True

    async def shut_out(self, reason: str) -> None:
        """Say why, and end. May be called twice."""
        if not self._shut_out.done():
            self._shut_out.set_result(reason)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The whole stream. Whoever serves it drops a client that takes nothing: every `send` ends."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await _send(send, COMMENT)
        self._sockets.add(self, self._principal)
        try:
            complete = await self._until_over(scope, receive, send)
        finally:
            self._sockets.remove(self, self._principal)
        if self._shut_out.done() and not complete:
            await _send(send, next_event(_farewell(self._shut_out.result())) + COMPLETE)
        await _send(send, b"", more=False)

    async def _until_over(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Whether all of it was sent."""
        delivering = asyncio.create_task(self._deliver(send), name="event stream")
        beating = asyncio.create_task(self._beat(send), name="event stream: keep alive")
        listening = asyncio.create_task(_left(receive), name="event stream: client")
        tasks = (delivering, beating, listening)
        stopping: Stopping = scope.get("state", {}).get(STOPPING) or Stopping()
        try:
            with stopping.told() as stopped:
                await asyncio.wait((*tasks, self._shut_out, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if delivering.cancelled():
            return False
        if (error := delivering.exception()) is not None:
            log.error("an event stream failed", exc_info=error)
        return error is None

    async def _deliver(self, send: Send) -> None:
        async with aclosing(self._frames) as frames:
            async for frame in frames:
                self._idle = False
                await _send(send, frame)

    async def _beat(self, send: Send) -> None:
        """Proxies close what says nothing for long."""
        while True:
            self._idle = True
            await asyncio.sleep(KEEP_ALIVE_SECONDS)
            if self._idle:
                await _send(send, COMMENT)


async def _send(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _left(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _farewell(reason: str) -> bytes:
    return orjson.dumps({"errors": [{"message": f"{reason}.", "extensions": {"code": "UNAUTHENTICATED"}}]})
