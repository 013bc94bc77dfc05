"""A constant load that does not let go: what a gateway did not answer is asked again, of the other one, by its key."""

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence

import httpx

from tests.servers.roles import API_KEY

SEND = """mutation ($input: SendNotificationInput!) {
  send_notification(input: $input) { success message data { notifications { id } } } }"""
PATIENCE = 5.0
"""Seconds that one try may take."""
PAUSE = 0.2
"""Seconds until the next one."""


class Load:
    """Sends `rate` notifications a second, each under a `request_id` of its own, until it is stopped."""

    def __init__(self, ports: Sequence[int], rate: float) -> None:
        self._ports, self._rate = ports, rate
        self._numbers = itertools.count()
        self._sending: set[asyncio.Task[None]] = set()
        self._stopped = False
        self.accepted: dict[str, float] = {}
        """Ids of notifications whose acceptance was answered, and when."""

    async def run(self) -> None:
        """Send until `stop`, then wait for every answer."""
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(timeout=PATIENCE, limits=limits) as http:
            begun, sent = time.monotonic(), 0
            while not self._stopped:
                due = int((time.monotonic() - begun) * self._rate)
                for _ in range(due - sent):
                    self._start(http)
                sent = max(sent, due)
                await asyncio.sleep(0.02)
            await asyncio.gather(*self._sending)

    def stop(self) -> None:
        """Send no more."""
        self._stopped = True

    async def one(self) -> str:
        """Send one by itself and answer its id."""
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            return await self._insist(http, next(self._numbers))

    def _start(self, http: httpx.AsyncClient) -> None:
        task = asyncio.create_task(self._send(http, next(self._numbers)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, http: httpx.AsyncClient, number: int) -> None:
        await self._insist(http, number)

    async def _insist(self, http: httpx.AsyncClient, number: int) -> str:
        """Ask until there is an answer; the same key makes it one notification, however often it is asked."""
        given: dict[str, object] = {
            "request_id": f"soak-{number}",
            "recipient": {"email": f"user{number}@example.com"},
            "content": {"subject": f"Number {number}", "text": "Hello"},
            "channels": ["EMAIL"],
        }
        for attempt in itertools.count():
            port = self._ports[(number + attempt) % len(self._ports)]
            id = await _try(http, port, given)
            if id is not None:
                self.accepted.setdefault(id, time.monotonic())
                return id
            await asyncio.sleep(PAUSE)
        raise AssertionError("unreachable: it counts for ever")


async def _try(http: httpx.AsyncClient, port: int, given: Mapping[str, object]) -> str | None:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    try:
        answer = await http.post(
            f"http://127.0.0.1:{port}/graphql", json={"query": SEND, "variables": {"input": given}}, headers=headers
        )
        payload = answer.json()["data"]["send_notification"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None
    return str(payload["data"]["notifications"][0]["id"]) if payload["success"] else None
