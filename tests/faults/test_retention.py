"""Finished notifications are removed after seconds, under load, while gateways are killed: nobody misses anything
without being told, and nothing goes before its end."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import WebSocketException

from api.gateway import cursor
from tests.e2e.api import FEED, WATCH, SubscriptionError
from tests.faults.system import Servers, System, scaled_out, until
from tests.soak.load import Load

GATEWAYS = ("gateway-1", "gateway-2")
RATE, KILLS, REMOVED = 20.0, 4, 20
PROGRAM = """
from datetime import timedelta
from api.gateway import horizon, removal_round, retention
horizon.LEASE = 2
removal_round.Kept.of_days = lambda *days: removal_round.Kept(timedelta(seconds=3), timedelta(seconds=3))
retention.Retention.__init__.__kwdefaults__.update(poll=0.2, interval=0.2)
"""


class Watcher:
    """Follows the feed. When its socket ends it goes on at the other gateway after its cursor; when that has expired,
    it begins anew. What it saw between two beginnings is a stretch.
    """

    def __init__(self, system: System, first: int) -> None:
        self._system, self._gateways = system, cycle(GATEWAYS[first:] + GATEWAYS[:first])
        self._after: str | None = cursor.encode(0)
        self.stretches: list[list[int]] = [[]]
        self.following = asyncio.create_task(self._follow())

    @property
    def last(self) -> int:
        return max((stretch[-1] for stretch in self.stretches if stretch), default=0)

    async def _follow(self) -> None:
        while True:
            try:
                await self._listen(next(self._gateways))
            except SubscriptionError as error:
                check_expired(error)
                self._after = None
                self.stretches.append([])
            except (OSError, WebSocketException, TimeoutError):
                await asyncio.sleep(0.1)

    async def _listen(self, gateway: str) -> None:
        given = {} if self._after is None else {"after": self._after}
        async with self._system.api(gateway).subscribe(FEED, **given) as events:
            async for event in events:
                self._after = event["cursor"]
                self.stretches[-1].append(int(event["position"]))

    async def saw(self, head: int) -> None:
        """Wait until it is at the head; it saw each stretch without a hole."""

        async def is_there() -> bool:
            assert not self.following.done(), "it never gives up"
            return self.last >= head

        await until(is_there)
        self.following.cancel()
        for stretch in self.stretches:
            assert all(one + 1 == next_ for one, next_ in pairwise(stretch))


def check_expired(error: SubscriptionError) -> None:
    (said,) = error.errors
    assert said["extensions"]["code"] == "CURSOR_EXPIRED"


@pytest.fixture
async def system(private_servers: Servers, tmp_path: Path) -> AsyncIterator[System]:
    """Two gateways that keep what is finished for three seconds, a relay and a worker."""
    async with scaled_out(private_servers, tmp_path, "relay", "email") as running:
        await running.start(*GATEWAYS, program=PROGRAM)
        yield running


async def number(system: System, sql: str, *params: Any) -> int:
    return int((await system.query(sql, *params))[0]["n"])


async def horizon(system: System) -> int:
    return await number(system, "SELECT horizon AS n FROM retention")


async def until_removed_further(system: System) -> None:
    """Wait until the horizon has moved again."""
    before = await horizon(system)

    async def has_moved() -> bool:
        return await horizon(system) > before + REMOVED

    await until(has_moved)


async def come_back_late(system: System, after: int) -> None:
    """Whoever was away until the log went on without them is told so, at either gateway."""

    async def is_past() -> bool:
        return await horizon(system) > after

    await until(is_past)
    for gateway in GATEWAYS:
        with pytest.raises(SubscriptionError) as refused:
            await system.api(gateway).watch(FEED, after=cursor.encode(after))
        check_expired(refused.value)


async def test_what_is_finished_goes_under_load_and_kills_and_nobody_is_misled(system: System) -> None:
    ahead = (datetime.now(UTC) + timedelta(days=365)).isoformat()
    scheduled = {await system.send(f"ahead{n}@example.com", gateway=GATEWAYS[0], send_at=ahead) for n in range(3)}
    watchers = [Watcher(system, number) for number in range(2)]
    load = Load([system.api(gateway).port for gateway in GATEWAYS], RATE)
    sending = asyncio.create_task(load.run())
    for _, victim in zip(range(KILLS), cycle(GATEWAYS), strict=False):
        await until_removed_further(system)
        system.kill(victim)
        await system.start(victim, program=PROGRAM)
    await come_back_late(system, after=5)
    load.stop()
    await sending

    async def all_removed() -> bool:
        return await number(system, "SELECT count(*) AS n FROM notifications") == len(scheduled)

    await until(all_removed)
    head = await number(system, "SELECT position AS n FROM status_log_head")
    for watcher in watchers:
        await watcher.saw(head)
    await check_what_is_left(system, scheduled, head)
    mails = system.sink.mails()
    assert load.accepted.keys() - mails.keys() == set(), "it was removed before it was sent"


async def check_what_is_left(system: System, scheduled: set[str], head: int) -> None:
    """What is not finished, whole; the log above the horizon, dense; nothing else."""
    rows = await system.query("SELECT position, notification_id FROM status_log ORDER BY position")
    at = await horizon(system)
    assert [row["position"] for row in rows if row["position"] > at] == list(range(at + 1, head + 1))
    assert {row["notification_id"] for row in rows if row["position"] <= at} == scheduled
    left = await system.query("SELECT id, status FROM notifications")
    assert {row["id"]: row["status"] for row in left} == dict.fromkeys(scheduled, "SCHEDULED")
    for id in scheduled:
        assert await system.history(id) == ["SCHEDULED"]
        async with system.api(GATEWAYS[0]).subscribe(WATCH, id=id) as events:
            assert (await anext(events))["sequence"] == 1
    for table, count in {"requests": len(scheduled), "attempts": 0, "removals": 0}.items():
        assert await number(system, f"SELECT count(*) AS n FROM {table}") == count
