"""More of every role, started while load runs: nothing is lost, nothing is sent twice, and no setting changes."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from domain.concurrency import Tasks
from tests.faults.system import Servers, System, scaled_out, until

ONE_OF_EACH = ("gateway", "dispatch", "relay", "email")
MORE = ("gateway-2", "dispatch-2", "relay-2", "email-2", "email-3")
AT_ONCE, AT_LEAST = 20, 100
SYSTEM = "{ system { data { services { name status instances { id version status } } } } }"


@pytest.fixture
async def system(private_servers: Servers, tmp_path: Path) -> AsyncIterator[System]:
    """One of each role."""
    async with scaled_out(private_servers, tmp_path, *ONE_OF_EACH) as running:
        yield running


class Load:
    """Mail to somebody new, again and again, through all gateways by turns."""

    def __init__(self, system: System) -> None:
        self._system = system
        self.gateways = ["gateway"]
        self.sent: list[str] = []
        self._numbers, self._tasks = count(), Tasks()

    def start(self) -> None:
        for caller in range(AT_ONCE):
            _ = self._tasks.start(f"caller {caller}", self._call())

    async def stop(self) -> None:
        await self._tasks.cancel()

    async def until_more(self) -> None:
        """Until so many more were accepted."""
        wanted = len(self.sent) + AT_LEAST

        async def there_are() -> bool:
            return len(self.sent) >= wanted

        await until(there_are)

    async def _call(self) -> None:
        for number in self._numbers:
            gateway = self.gateways[number % len(self.gateways)]
            id = await asyncio.shield(self._system.send(f"p{number}@example.com", gateway=gateway))
            self.sent.append(id)


async def instances(system: System, gateway: str) -> dict[str, int]:
    """How many of each role a gateway sees that are well."""
    shown: Any = (await system.api(gateway).payload(SYSTEM))["data"]["services"]
    return {service["name"]: sum(instance["status"] == "ok" for instance in service["instances"]) for service in shown}


async def until_seen(system: System, seer: str, **wanted: int) -> None:
    """Until this gateway sees so many of each role."""

    async def seen() -> bool:
        found = await instances(system, seer)
        return all(found.get(name, 0) == number for name, number in wanted.items())

    await until(seen)


async def test_more_of_every_role_join_and_leave_under_load(system: System) -> None:
    load = Load(system)
    load.start()
    try:
        await load.until_more()
        await system.start(*MORE)
        load.gateways.append("gateway-2")
        for seer in load.gateways:
            await until_seen(system, seer, gateway=2, dispatch=4, relay=2, email=3)
        await load.until_more()
        for name in ("email-3", "relay", "dispatch-2"):
            system.kill(name)
        await load.until_more()
        await until_seen(system, "gateway", relay=1, dispatch=3, email=2)
    finally:
        await load.stop()
    await system.check()
