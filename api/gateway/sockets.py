"""What is open, sockets and event streams, by its credential, so that each ends when its credential does."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Collection
from typing import Protocol

from api.security import Principal
from domain.concurrency import Tasks

log = logging.getLogger(__name__)

CLOSE_DEADLINE = 5.0
MAX_REVOKED = 10_000


class Socket(Protocol):
    """Something that can be shut out."""

    async def shut_out(self, reason: str) -> None:
        """Take no more from it, and end it; the client is told why."""


class Sockets:
    """Costs a timer for a socket whose credential expires and nothing more for any other; a task only to close one."""

    def __init__(self) -> None:
        self._open: dict[str, set[Socket]] = {}
        self._timers: dict[Socket, asyncio.TimerHandle] = {}
        self._revoked: OrderedDict[str, None] = OrderedDict()
        self._closing = Tasks()

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def add(self, socket: Socket, principal: Principal) -> None:
        """From now on it lives as long as this credential does."""
        if principal.key_id in self._revoked:  # while it was being opened
            self._close(socket, "The API key was revoked")
            return
        self._open.setdefault(principal.key_id, set()).add(socket)
        if principal.expires_at is not None:
            delay = max(0.0, principal.expires_at - time.time())
            timer = asyncio.get_running_loop().call_later(delay, self._close, socket, "The credential has expired")
            self._timers[socket] = timer

    def remove(self, socket: Socket, principal: Principal) -> None:
        """It is closed, or about to be. May be called twice."""
        if (timer := self._timers.pop(socket, None)) is not None:
            timer.cancel()
        if (others := self._open.get(principal.key_id)) is not None:
            others.discard(socket)
            if not others:
                del self._open[principal.key_id]

    def revoke(self, key_ids: Collection[str]) -> None:
        """Close all sockets of these keys, those that are being opened included. May be called again."""
        for key_id in key_ids:
            self._revoked[key_id] = None
            self._revoked.move_to_end(key_id)
            for socket in self._open.get(key_id, ()):
                self._close(socket, "The API key was revoked")
        while len(self._revoked) > MAX_REVOKED:
            self._revoked.popitem(last=False)

    def _close(self, socket: Socket, reason: str) -> None:
        _ = self._closing.start("socket: shut out", _shut_out(socket, reason))


async def _shut_out(socket: Socket, reason: str) -> None:
    """A client that reads nothing takes no close either; the server drops it when it answers no ping."""
    try:
        async with asyncio.timeout(CLOSE_DEADLINE):
            await socket.shut_out(reason)
    except TimeoutError:
        log.info("a socket did not take its close in time")
