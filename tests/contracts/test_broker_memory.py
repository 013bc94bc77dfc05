"""What the broker in memory promises on top of the contract."""

import asyncio

import pytest

from domain.errors import BrokerUnavailable
from tests.contracts.brokers import emails, statuses
from workers.broker.memory import MemoryBroker
from workers.broker.topology import EMAIL_QUEUE


async def test_a_full_queue_in_memory_takes_nothing_more() -> None:
    broker = MemoryBroker(max_length=2)
    await broker.connect()

    with pytest.raises(BrokerUnavailable):
        await broker.publish(emails("1", "2", "3"))

    assert (await broker.depth(EMAIL_QUEUE)).messages == 2
    await broker.publish(statuses("another queue has room"))


async def test_a_consumer_in_memory_that_never_waits_lets_others_run() -> None:
    broker = MemoryBroker()
    await broker.connect()
    await broker.publish(emails(*["{}"] * 1_000))
    turns_of_others = 0

    async def other() -> None:
        nonlocal turns_of_others
        while True:
            await asyncio.sleep(0)
            turns_of_others += 1

    somebody = asyncio.ensure_future(other())
    async with broker.consume(EMAIL_QUEUE, 10) as source:
        for _ in range(1_000):
            await (await anext(source)).ack()
    somebody.cancel()
    await asyncio.wait([somebody])

    assert turns_of_others >= 1_000 / 10 - 1
