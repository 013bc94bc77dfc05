"""Two of everything, fifty of one message, and clocks that are wrong: still one of each notification."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from api.database import Databases, parse_time
from domain.events import DeliveryItem, DeliveryRequested
from domain.notification import Channel, Priority
from tests.e2e.api import CONTENT
from tests.faults.sink import Stage
from tests.faults.system import Servers, System, scaled_out
from workers.broker.rabbitmq import RabbitBroker
from workers.messages import delivery_publication

TWINS = ("gateway", "dispatch", "relay", "email")
MANY = 50
HOUR = 3600
SLACK = timedelta(seconds=5)
SKEWED = """
import ctypes, datetime, gc, time
true_time, true_time_ns, true_now = time.time, time.time_ns, datetime.datetime.now
time.time = lambda: true_time() + ({seconds})
time.time_ns = lambda: true_time_ns() + ({seconds}) * 10**9
now = lambda tz=None: true_now(tz) + datetime.timedelta(seconds={seconds})
# The class is built in: only behind Python's back can it be given another clock.
gc.get_referents(datetime.datetime.__dict__)[0]["now"] = staticmethod(now)
ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime.datetime))
print("it is", datetime.datetime.now(datetime.UTC).isoformat(), flush=True)
"""
"""Python that runs before the role does: every clock but the monotonic one is off by {seconds}."""


@pytest.fixture(scope="module")
async def system(private_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """Two gateways, dispatchers, relays and workers."""
    names = [name for twin in TWINS for name in (twin, f"{twin}-2")]
    async with scaled_out(private_servers, tmp_path_factory.mktemp("twins"), *names) as running:
        yield running


async def test_two_of_every_role_send_everything_once(system: System) -> None:
    halves = await asyncio.gather(*(system.send_many(MANY, gateway=name) for name in ("gateway", "gateway-2")))
    await system.check_sent_once([id for half in halves for id in half])


async def test_one_of_each_two_is_killed_and_the_other_goes_on(system: System) -> None:
    one = await system.hold_one(Stage.RECIPIENT)
    ids = await system.send_many(MANY)
    for twin in TWINS:
        system.kill(twin)
    one.hold.release()
    ids += await system.send_many(MANY, gateway="gateway-2")
    checked = await system.check()
    await system.start(*TWINS)

    # A mail that was in a killed worker's hands may have been taken twice; then it says so.
    assert checked.duplicates == checked.flagged
    assert set(ids) <= system.sink.mails().keys()


async def test_fifty_copies_of_one_delivery_message(system: System) -> None:
    async with frozen(system, "email", "email-2"):
        id = await system.send("copies@example.com")
        await system.until_row(id, status="QUEUED")
        message = DeliveryRequested(channel=Channel.EMAIL, priority=Priority.NORMAL, items=[DeliveryItem(id, 0)])
        broker = RabbitBroker(system.broker_url)
        await broker.connect()
        copies = [delivery_publication(message, correlation_id=None, traceparent=None) for _ in range(MANY)]
        await broker.publish(copies)
        await broker.close()

    await system.check_sent_once([id])
    assert (await system.row(id))["attempt"] == 1


async def test_fifty_callers_with_one_request_id(system: System) -> None:
    given: dict[str, Any] = {
        "request_id": uuid4().hex,
        "recipient": {"email": "one@example.com"},
        "channels": ["EMAIL"],
        "content": CONTENT,
    }
    gateways = [system.api(name) for name in ("gateway", "gateway-2")]
    receipts = await asyncio.gather(*(gateways[number % 2].send(**given) for number in range(MANY)))

    assert sorted(receipt["duplicate"] for receipt in receipts) == [False] + [True] * (MANY - 1)
    (id,) = {receipt["notifications"][0]["id"] for receipt in receipts}
    await system.check_sent_once([id])


async def test_a_worker_that_outlives_its_lease(system: System) -> None:
    async with frozen(system, "email-2"):
        one = await system.hold_one(Stage.ANSWER)
        async with frozen(system, "email"):
            system.thaw("email-2")
            one.hold.release()
            await system.until_row(one.id, status="SENT")
            history = await system.history(one.id)
        system.freeze("email-2")
        await system.send("awake@example.com")  # it can be sent by the late one only
        await system.check()

    # Taken twice, which is what an overrun costs; what the late one says is heard, and changes nothing.
    assert system.sink.mails()[one.id] == 2
    assert (await system.row(one.id))["possible_duplicate"]
    assert await system.unknown_attempts(one.id) >= 1
    assert await system.history(one.id) == history


@pytest.mark.parametrize("seconds", [HOUR, -HOUR], ids=["an hour ahead", "an hour behind"])
async def test_a_worker_whose_clock_is_wrong(system: System, seconds: int) -> None:
    system.kill("email-2")
    await system.start("email-2", program=SKEWED.format(seconds=seconds))
    begun = await database_time(system)
    believed = parse_time(re.findall(r"^it is (\S+)$", system.process("email-2").log_text(), re.MULTILINE)[-1])
    assert abs(begun + timedelta(seconds=seconds) - believed) < timedelta(seconds=HOUR / 2)
    async with frozen(system, "email"):
        system.sink.refuse_once("clock@example.com", b"451 4.7.1 come back later")
        id = await system.send("clock@example.com")
        await system.until_row(id, status="SENT")
    ended = await database_time(system)

    await system.check_sent_once([id])
    log = await system.query("SELECT status, occurred_at FROM status_log WHERE notification_id = $1", id)
    assert "RETRYING" in [row["status"] for row in log]
    assert all(begun - SLACK <= parse_time(row["occurred_at"]) <= ended + SLACK for row in log)


async def database_time(system: System) -> Any:
    return parse_time((await system.query("SELECT now() AS now"))[0]["now"])


@asynccontextmanager
async def frozen(system: System, *names: str) -> AsyncIterator[None]:
    """These do nothing meanwhile."""
    for name in names:
        system.freeze(name)
    try:
        yield
    finally:
        for name in names:
            system.thaw(name)


async def test_eight_migrations_at_once(tmp_path: Path, postgres_database: Callable[[], str]) -> None:
    urls = {
        "gateway": postgres_database(),
        "users": postgres_database(),
        "templates": f"sqlite://{tmp_path}/templates.db",
    }
    env = {f"HELIOGRAPH_{name.upper()}_DATABASE_URL": url for name, url in urls.items()}
    command = [sys.executable, "-c", "from api.cli import main; main()", "migrate"]
    processes = [await asyncio.create_subprocess_exec(*command, env={**os.environ, **env}) for _ in range(8)]
    async with asyncio.timeout(100):
        assert [await process.wait() for process in processes] == [0] * 8

    databases = await Databases.open(urls)
    try:
        for name, table in {"gateway": "notifications", "users": "users", "templates": "templates"}.items():
            assert await databases[name].query(f"SELECT * FROM {table}") == []
    finally:
        await databases.close()
