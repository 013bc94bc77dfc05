"""Messages that nobody could have meant: each is set aside with its reason, and what follows is delivered."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from domain.ids import NOTIFICATION, new_id
from domain.notification import Channel, Status
from domain.ports import Broker, Message, Publication
from tests.faults.providers import Deliveries, check_path, migrated, running
from tests.services.worker_world import PATIENCE
from workers.broker.memory import MemoryBroker
from workers.broker.rabbitmq import RabbitBroker
from workers.broker.topology import (
    EMAIL_QUEUE,
    EXCHANGE_NOTIFICATIONS,
    EXCHANGE_STATUS,
    FAILED_QUEUE,
    PUSH_QUEUE,
    QUEUES,
    STATUS_QUEUE,
)

PLACES = {
    EMAIL_QUEUE: (EXCHANGE_NOTIFICATIONS, "email"),
    PUSH_QUEUE: (EXCHANGE_NOTIFICATIONS, "push"),
    STATUS_QUEUE: (EXCHANGE_STATUS, "status.changed"),
}
LARGE = 10 * 1024 * 1024
SOMEBODY = new_id(NOTIFICATION)
SENT = {"notification_id": SOMEBODY, "status": "SENT", "occurred_at": "2026-01-01T00:00:00Z"}
BEYOND_THE_STACK = 100_000
HANDED_BACK = "SELECT id FROM notifications WHERE id = $1 AND attempt = 1 AND token IS NULL AND attempts_used = 0"


def delivery(**changes: Any) -> bytes:
    whole = {"version": 1, "channel": "EMAIL", "priority": "NORMAL", "items": [{"id": SOMEBODY, "attempt": 0}]}
    return json.dumps(whole | changes).encode()


UNREADABLE = {
    "empty": b"",
    "binary": bytes(range(256)),
    "no JSON": b'{"version": 1,',
    "not UTF-8": b'{"version": "\xff\xfe"}',
    "null": b"null",
    "a list": b"[]",
    "deep": b"[" * BEYOND_THE_STACK + b"]" * BEYOND_THE_STACK,
    "10 MB of nothing": b" " * LARGE,
    "10 MB of NUL": bytes(LARGE),
    "an unknown version": delivery(version=9),
    "another version of reports": json.dumps({"version": 2, "changes": [SENT]}).encode(),
    "wrong types": delivery(items="all", changes="all"),
    "too many": delivery(items=[{"id": SOMEBODY, "attempt": 0}] * 51, changes=[SENT] * 501),
    "nothing in it": delivery(items=[], changes=[]),
}


@pytest.fixture(params=["memory and SQLite", "RabbitMQ and PostgreSQL"])
async def path(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Deliveries]:
    """Everything runs, embedded or scaled out."""
    broker: Broker = MemoryBroker()
    url = f"sqlite://{tmp_path}/gateway.db"
    if request.param != "memory and SQLite":
        make_vhost: Callable[[], str] = request.getfixturevalue("rabbitmq_vhost")
        make_database: Callable[[], str] = request.getfixturevalue("postgres_database")
        broker, url = RabbitBroker(make_vhost()), make_database()
    async with AsyncExitStack() as stack:
        databases = await stack.enter_async_context(migrated(url))
        yield await stack.enter_async_context(running(Deliveries(url, databases, broker=broker)))


async def put(path: Deliveries, queue: str, *bodies: bytes) -> None:
    """Publish these as a stranger would."""
    exchange, key = PLACES[queue]
    await path.broker.publish(
        [Publication(exchange, key, Message(type="", body=b, message_id=uuid4().hex)) for b in bodies]
    )


async def check_it_goes_on(path: Deliveries) -> None:
    """What is accepted now is sent, on both channels; the queues drain; everything holds."""
    ids = [*await path.accept_on(Channel.EMAIL), *await path.accept_on(Channel.PUSH)]
    assert {view.status for view in (await path.ended(ids)).values()} == {Status.SENT}
    async with asyncio.timeout(PATIENCE):
        for queue in QUEUES:
            while (await path.broker.depth(queue.name)).messages:  # noqa: ASYNC110 - they are elsewhere
                await asyncio.sleep(0.02)
    await check_path(path, {claim.id: path.calls(claim.id) for claim in path.sender.claims})


@pytest.mark.parametrize("queue", PLACES)
async def test_what_nobody_can_read_is_set_aside_once_with_its_reason(path: Deliveries, queue: str) -> None:
    await put(path, queue, *UNREADABLE.values())
    letters = await path.dead_letters(len(UNREADABLE))
    await check_it_goes_on(path)
    assert {letter["queue"] for letter in letters} == {queue}
    assert all(letter["reason"] and letter["notification_id"] is None for letter in letters)
    assert len(await path.dead_letters(0)) == len(UNREADABLE), "each once: none came again"


@pytest.mark.parametrize("queue", [EMAIL_QUEUE, PUSH_QUEUE])
async def test_items_that_no_database_can_hold_are_set_aside(path: Deliveries, queue: str) -> None:
    attempts = (2**40, 2**62, 2**80, -(2**80))
    bodies = [delivery(items=[{"id": SOMEBODY, "attempt": attempt}]) for attempt in attempts]
    bodies += [delivery(items=[{"id": id, "attempt": 0}]) for id in ("a\0b", "x" * 100_000, "'; --", "")]
    bodies.append(delivery(items=[{"id": SOMEBODY, "attempt": 0}] * 50))
    await put(path, queue, *bodies)
    await check_it_goes_on(path)
    for letter in await path.dead_letters(0):
        assert (letter["queue"], letter["reason"].partition(":")[0]) == (queue, "It could not be claimed")


CHANGES: list[dict[str, Any]] = [
    {"attempt": 2**40},
    {"attempt": 2**80},
    {"occurred_at": "9999-12-31T23:59:59-12:00"},
    {"occurred_at": "0001-01-01T00:00:00+12:00"},
    {"occurred_at": "2026-01-01T00:00:00"},
    {"reason": "a\0b"},
    {"reason": "x" * 1_000_000, "provider": "x" * 100_000},
    {"detail": {"n": 2**80}},
    {"detail": {"a\0b": ["\0"]}},
    {"status": "RETRYING", "retry_at": "9999-12-31T23:59:59-12:00"},
    {"status": "QUEUED", "replay": True},
    {"notification_id": "a\0b"},
    {"notification_id": ""},
]


async def check_neighbours_are_recorded(path: Deliveries, bad: Sequence[bytes]) -> None:
    """Each bad change travels with a good one, all of them at once: every good one is recorded."""
    victim, *neighbours = await path.accept_on(Channel.EMAIL, 1 + len(bad))
    await path.ended([victim, *neighbours])
    delivered = [json.dumps({**SENT, "notification_id": id, "status": "DELIVERED"}).encode() for id in neighbours]
    changes = [change.replace(SOMEBODY.encode(), victim.encode()) for change in bad]
    pairs = [b'{"version":1,"changes":[%s,%s]}' % pair for pair in zip(changes, delivered, strict=True)]
    await put(path, STATUS_QUEUE, *pairs)
    for id in neighbours:
        await path.reached(id, Status.DELIVERED)
    await check_it_goes_on(path)
    for letter in await path.dead_letters(0):
        assert (letter["queue"], letter["reason"].partition(":")[0]) == (STATUS_QUEUE, "It could not be recorded")


async def test_a_change_that_cannot_be_recorded_harms_no_other(path: Deliveries) -> None:
    await check_neighbours_are_recorded(path, [json.dumps({**SENT, **change}).encode() for change in CHANGES])


async def test_a_change_as_deep_as_can_be_read_harms_no_other(path: Deliveries) -> None:
    deep = [b'{"a":' * depth + b"1" + b"}" * depth for depth in range(50, 950, 50)]
    change = json.dumps(SENT).encode()[:-1]
    await check_neighbours_are_recorded(path, [b'%s,"detail":%s}' % (change, detail) for detail in deep])


async def test_what_is_of_another_channel_is_handed_back_and_delivered_on_its_own(path: Deliveries) -> None:
    await path.dispatcher.stop()
    (id,) = await path.accept_on(Channel.PUSH)
    await put(path, EMAIL_QUEUE, delivery(items=[{"id": id, "attempt": 0}]))
    async with asyncio.timeout(PATIENCE):
        while not await path.database.query(HANDED_BACK, [id]):  # noqa: ASYNC110 - it is elsewhere
            await asyncio.sleep(0.02)
    assert path.calls(id) == 0
    path.dispatcher.start()
    assert (await path.ended([id]))[id].status is Status.SENT
    await check_it_goes_on(path)


async def test_strangers_letters_are_kept_and_the_queue_drains(path: Deliveries) -> None:
    bodies = [b"", bytes(range(256)), b"x" * LARGE, json.dumps(SENT).encode()]
    for body in bodies:
        await path.publish_raw(EXCHANGE_NOTIFICATIONS, "failed", body)
    assert {letter["queue"] for letter in await path.dead_letters(len(bodies))} == {FAILED_QUEUE}
    await check_it_goes_on(path)
