"""Whoever watches sees the log, event for event, whichever gateway, relay or Redis dies meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

import pytest
from websockets.exceptions import WebSocketException

from api.gateway import cursor
from tests.faults.system import Servers, System, scaled_out, until
from tests.soak.load import Load

GATEWAYS, RELAYS = ("gateway-1", "gateway-2"), ("relay-1", "relay-2")
FEED = """subscription ($after: String, $filter: StatusFeedFilter) { status_feed(after: $after, filter: $filter) {
  cursor position notification_id sequence status } }"""
FILTERS: tuple[Mapping[str, Any], ...] = (
    {},
    {"status": ["SENT"]},
    {"status": ["QUEUED", "SENDING"]},
    {"channel": "PUSH"},
)
RATE, KILLS, PAUSE = 40.0, 12, 1.0

Seen = tuple[int, str, int, str]


class Subscriber:
    """Follows the feed from the very beginning; when its socket ends it goes to the other gateway with its cursor."""

    def __init__(self, system: System, where: Mapping[str, Any], first: int) -> None:
        self._system, self._where = system, where
        self._gateways = cycle(GATEWAYS[first:] + GATEWAYS[:first])
        self._after = cursor.encode(0)
        self.seen: list[Seen] = []
        self.sockets = 0
        self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        for gateway in self._gateways:
            try:
                async with self._system.api(gateway).subscribe(FEED, after=self._after, filter=self._where) as events:
                    self.sockets += 1
                    async for event in events:
                        self._note(event)
            except (OSError, WebSocketException, TimeoutError):
                await asyncio.sleep(0.1)

    def _note(self, event: Mapping[str, Any]) -> None:
        self._after = event["cursor"]
        self.seen.append((int(event["position"]), event["notification_id"], event["sequence"], event["status"]))

    async def saw(self, log: list[Seen]) -> None:
        """Wait until it has seen as much; it was this, in this order."""

        async def has_as_much() -> bool:
            assert not self._following.done(), "it never gives up"
            return len(self.seen) >= len(log)

        await until(has_as_much)
        self._following.cancel()
        assert self.seen == log


@pytest.fixture
async def system(private_servers: Servers, tmp_path: Path) -> AsyncIterator[System]:
    """Two gateways, two relays and a worker."""
    async with scaled_out(private_servers, tmp_path, *GATEWAYS, *RELAYS, "email") as running:
        yield running


async def log_of(system: System, where: Mapping[str, Any]) -> list[Seen]:
    """What the database says that a subscriber with this filter has to see."""
    rows = await system.query("SELECT position, notification_id, sequence, status, channel FROM status_log ORDER BY 1")
    wanted = where.get("status")
    return [
        (row["position"], row["notification_id"], row["sequence"], row["status"])
        for row in rows
        if wanted is None or row["status"] in wanted
        if where.get("channel", row["channel"]) == row["channel"]
    ]


async def strike(system: System, servers: Servers, chance: Random) -> None:
    """Kill something, and start it again."""
    victim = chance.choice([*GATEWAYS, *RELAYS, "redis"])
    if victim == "redis":
        await asyncio.to_thread(servers.redis.kill)
        await asyncio.to_thread(servers.redis.start)
    else:
        system.kill(victim)
        await system.start(victim)


async def test_each_sees_the_log_event_for_event(system: System, private_servers: Servers) -> None:
    load = Load([system.api(gateway).port for gateway in GATEWAYS], RATE)
    subscribers = [Subscriber(system, where, number % 2) for number, where in enumerate(FILTERS)]
    sending = asyncio.create_task(load.run())
    chance = Random(5)
    for _ in range(KILLS):
        await strike(system, private_servers, chance)
        await asyncio.sleep(PAUSE)
    load.stop()
    await sending
    system.accepted.extend(load.accepted)
    await system.check()
    for subscriber, where in zip(subscribers, FILTERS, strict=True):
        await subscriber.saw(await log_of(system, where))
    assert len(load.accepted) > 500
    assert min(subscriber.sockets for subscriber in subscribers) > 1, "each of them had to come back"
