"""A subscription that outlives its connections: what the live status stream promises, as far as the command line."""

import asyncio
from asyncio import sleep
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from random import uniform
from time import monotonic
from typing import Any

from api.cli.gateway import address_of, key_of
from api.cli.show import note, plain
from api.subscriber import Lost, Refused, results
from domain.errors import HeliographError

FIRST_PAUSE, LAST_PAUSE = 0.5, 5.0
LASTING = 30.0
"""Seconds after which a connection was a good one, though nothing came."""
PATIENCE = 300.0
"""Seconds without a connection after which it is given up; the cursor is said, so nothing is lost by it."""


class Ended(HeliographError):
    """The subscription is over before its time. The text says why, and how to go on where that is possible."""


class Resumed:
    """Every event of a subscription once and in order, whatever happens to connections and gateways.

    `cursor` is the last one that was dealt with. What has no cursor (`request_progress`) begins anew. `anchor` is where
    to go on from when a connection is lost before there was any event; None: from then on, with a gap.
    """

    def __init__(
        self,
        query: str,
        variables: Mapping[str, Any],
        url: str,
        key: str,
        *,
        after: str = "",
        anchor: str | None = None,
        say: Callable[[str], None] = note,
    ) -> None:
        self.cursor = after or None
        self._query, self._variables, self._anchor, self._say = query, variables, anchor, say
        self._url, self._key = address_of(url), key_of(key)
        self._lost, self._failures, self._last_contact = False, 0, monotonic()

    async def each(self, show: Callable[[Any], None]) -> None:
        """Show each event, until the subscription is complete. Who is stopped meanwhile says where to go on."""
        try:
            async with aclosing(self.events()) as events:
                async for event in events:
                    show(event)
        except asyncio.CancelledError:
            if self.cursor:
                self._say(f"stopped.{self._hint()}")
            raise

    async def events(self) -> AsyncGenerator[Any, None]:
        """Until the subscription is complete. Close the generator.

        Raises `Ended` for what the gateway refuses and for a gateway that stays away.
        """
        while True:
            try:
                async with aclosing(self._connection()) as found:
                    async for event in found:
                        self._failures = 0
                        yield event
                        self.cursor = event.get("cursor", self.cursor)
                return
            except Lost as lost:
                await self._pause(lost)
            except Refused as refused:
                raise Ended(str(refused)) from refused

    def _connection(self) -> AsyncGenerator[Any, None]:
        resumable = {"after": self.cursor} if "$after" in self._query else {}
        return results(self._url, self._key, self._query, {**self._variables, **resumable}, self._connected)

    def _connected(self) -> None:
        if self._lost:
            self._say("connected again; this goes on where it was.")
        self._lost, self._last_contact = False, monotonic()

    async def _pause(self, lost: Lost) -> None:
        """Say it once, and wait longer each time; a gateway that lets us in and out again is no reason to hurry."""
        now = monotonic()
        if not self._lost:
            self._say(f"the connection to {self._url} is lost ({plain(lost)}); connecting again.")
            self._failures = 0 if now - self._last_contact > LASTING else self._failures
            self._lost, self._last_contact = True, now
        elif now - self._last_contact > PATIENCE:
            raise Ended(f"nobody answered at {self._url} for {PATIENCE / 60:.0f} minutes.{self._hint()}")
        self.cursor = self.cursor or self._anchor
        pause = min(LAST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures, 16)) * uniform(0.8, 1.2)
        self._failures += 1
        await sleep(pause)

    def _hint(self) -> str:
        """How to go on from here another time; empty where there is nothing to go on from."""
        return f" Go on with --after {plain(self.cursor)}" if self.cursor else ""
