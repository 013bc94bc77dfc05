"""What every broker promises, asked of both adapters, and of one that is counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from api.meters import QueueMeters
from domain.errors import BrokerUnavailable
from domain.ports import Broker, Message, Publication, QueueDepth
from tests.contracts.brokers import (
    PATIENCE,
    bodies,
    emails,
    message,
    receive,
    statuses,
    until_consumers,
    until_depth,
)
from workers.broker import topology
from workers.broker.memory import MemoryBroker
from workers.broker.metered import MeteredBroker
from workers.broker.rabbitmq import RabbitBroker
from workers.broker.topology import (
    EMAIL_QUEUE,
    EXCHANGE_NOTIFICATIONS,
    EXCHANGE_STATUS,
    FAILED_KEY,
    FAILED_QUEUE,
    PUSH_QUEUE,
    STATUS_QUEUE,
)


@pytest.fixture(params=["memory", "rabbitmq", "metered"])
def new_broker(request: pytest.FixtureRequest) -> Broker:
    """A broker with empty queues, not connected yet."""
    if request.param == "memory":
        return MemoryBroker()
    if request.param == "metered":
        return MeteredBroker(MemoryBroker(), QueueMeters(CollectorRegistry()))
    return RabbitBroker(request.getfixturevalue("rabbitmq_vhost")())


@pytest.fixture
async def broker(new_broker: Broker) -> AsyncIterator[Broker]:
    async with asyncio.timeout(PATIENCE):
        await new_broker.connect()
    yield new_broker
    await new_broker.close()


# -------------------------------------------------------------------------------------------------------- routing


@pytest.mark.parametrize(
    ("exchange", "key", "queue"),
    [
        (EXCHANGE_NOTIFICATIONS, "email", EMAIL_QUEUE),
        (EXCHANGE_NOTIFICATIONS, "push", PUSH_QUEUE),
        (EXCHANGE_NOTIFICATIONS, FAILED_KEY, FAILED_QUEUE),
        (EXCHANGE_STATUS, "any.key.at.all", STATUS_QUEUE),
    ],
)
async def test_a_message_reaches_the_queue_of_its_routing_key_and_no_other(
    broker: Broker, exchange: str, key: str, queue: str
) -> None:
    await broker.publish([Publication(exchange, key, message("here"))])

    depths = {spec.name: (await broker.depth(spec.name)).messages for spec in topology.QUEUES}
    assert depths == {spec.name: int(spec.name == queue) for spec in topology.QUEUES}
    async with broker.consume(queue, 1) as source:
        assert bodies(await receive(source, 1)) == ["here"]


@pytest.mark.parametrize(
    ("exchange", "key"), [(EXCHANGE_NOTIFICATIONS, "pigeon"), (EXCHANGE_NOTIFICATIONS, "email.more")]
)
async def test_an_unroutable_message_is_refused_and_its_neighbours_are_not(
    broker: Broker, exchange: str, key: str
) -> None:
    before, after = emails("before", "after")

    with pytest.raises(BrokerUnavailable):
        await broker.publish([before, Publication(exchange, key, message()), after])

    async with broker.consume(EMAIL_QUEUE, 2) as source:
        assert bodies(await receive(source, 2)) == ["before", "after"]


async def test_all_that_was_published_survives_the_journey(broker: Broker) -> None:
    sent = message(
        '{"name": "Zoë"}',
        type="delivery.requested",
        correlation_id="cor_1",
        headers={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "name": "Zoë"},
    )
    await broker.publish([Publication(EXCHANGE_NOTIFICATIONS, "email", sent)])

    async with broker.consume(EMAIL_QUEUE, 1) as source:
        [received] = await receive(source, 1)

    assert received.message == sent
    assert not received.redelivered


async def test_what_is_left_out_stays_out_and_a_body_may_be_anything(broker: Broker) -> None:
    sent = Message(type="test", body=bytes(range(256)) * 1_000, message_id=uuid4().hex)
    await broker.publish([Publication(EXCHANGE_NOTIFICATIONS, "push", sent)])

    async with broker.consume(PUSH_QUEUE, 1) as source:
        [received] = await receive(source, 1)

    assert received.message == sent


async def test_a_large_batch_arrives_in_the_order_it_was_published_in(broker: Broker) -> None:
    numbers = [str(number) for number in range(500)]
    await broker.publish(emails(*numbers))

    async with broker.consume(EMAIL_QUEUE, 500) as source:
        assert bodies(await receive(source, 500)) == numbers


async def test_publishing_nothing_is_fine(broker: Broker) -> None:
    await broker.publish([])

    assert await broker.depth(EMAIL_QUEUE) == QueueDepth(messages=0, consumers=0)


async def test_many_may_publish_at_once(broker: Broker) -> None:
    await asyncio.gather(*(broker.publish(emails(*[str(number)] * 20)) for number in range(20)))

    assert (await broker.depth(EMAIL_QUEUE)).messages == 400


# ------------------------------------------------------------------------------------------------------- settling


async def test_an_acknowledged_message_is_gone(broker: Broker) -> None:
    await broker.publish(emails("once"))
    async with broker.consume(EMAIL_QUEUE, 1) as source:
        [received] = await receive(source, 1)
        await received.ack()

    await broker.publish(emails("next"))
    async with broker.consume(EMAIL_QUEUE, 1) as source:
        assert bodies(await receive(source, 1)) == ["next"]


async def test_a_requeued_message_comes_again_and_says_so(broker: Broker) -> None:
    await broker.publish(emails("again"))

    async with broker.consume(EMAIL_QUEUE, 1) as source:
        [first] = await receive(source, 1)
        await first.requeue()
        [second] = await receive(source, 1)

    assert (first.redelivered, second.redelivered) == (False, True)
    assert second.message == first.message


async def test_what_a_consumer_did_not_settle_comes_again_in_order(broker: Broker) -> None:
    await broker.publish(emails("1", "2", "3", "4"))
    async with broker.consume(EMAIL_QUEUE, 3) as source:
        [first, *_] = await receive(source, 2)  # the third is only buffered
        await first.ack()

    async with broker.consume(EMAIL_QUEUE, 10) as source:
        again = await receive(source, 3)

    assert bodies(again) == ["2", "3", "4"]
    assert again[0].redelivered


async def test_no_more_than_the_prefetch_is_handed_out(broker: Broker) -> None:
    await broker.publish(emails(*"12345"))

    async with broker.consume(EMAIL_QUEUE, 2) as source:
        [first, _] = await receive(source, 2)
        await until_depth(broker, EMAIL_QUEUE, 3)
        waiting = asyncio.ensure_future(anext(source))
        await broker.publish(emails("6"))  # a round trip: whatever was to come would be here
        assert not waiting.done()
        await first.ack()
        async with asyncio.timeout(PATIENCE):
            assert (await waiting).message.body == b"3"


@pytest.mark.parametrize("settle", ["ack", "requeue", "reject"])
async def test_settling_twice_is_harmless(broker: Broker, settle: str) -> None:
    await broker.publish(emails("1", "2"))

    async with broker.consume(EMAIL_QUEUE, 1) as source:
        [received] = await receive(source, 1)
        await received.ack()
        await (received.reject("late") if settle == "reject" else getattr(received, settle)())
        [following] = await receive(source, 1)
        await following.ack()
        await until_depth(broker, EMAIL_QUEUE, 0)

    assert bodies([following]) == ["2"]
    assert (await broker.depth(FAILED_QUEUE)).messages == 0


async def test_settling_after_the_consumer_has_gone_is_harmless(broker: Broker) -> None:
    await broker.publish(emails("1"))
    async with broker.consume(EMAIL_QUEUE, 1) as source:
        [received] = await receive(source, 1)

    await received.ack()

    await until_depth(broker, EMAIL_QUEUE, 1)


# --------------------------------------------------------------------------------------------------- dead letters


async def test_a_rejected_message_moves_to_the_failed_queue_with_its_reason(broker: Broker) -> None:
    sent = message("nonsense", correlation_id="cor_1", headers={"traceparent": "00-ab"})
    await broker.publish([Publication(EXCHANGE_NOTIFICATIONS, "email", sent)])

    async with broker.consume(EMAIL_QUEUE, 1) as source, broker.consume(FAILED_QUEUE, 1) as failures:
        [received] = await receive(source, 1)
        await received.reject("It is no JSON.")
        [failed] = await receive(failures, 1)

    assert failed.message.headers == {
        "traceparent": "00-ab",
        "x-reason": "It is no JSON.",
        "x-original-queue": EMAIL_QUEUE,
    }
    assert (failed.message.body, failed.message.message_id) == (b"nonsense", sent.message_id)
    assert (failed.message.type, failed.message.correlation_id) == (sent.type, "cor_1")
    assert (await broker.depth(EMAIL_QUEUE)).messages == 0


async def test_a_reason_of_any_length_will_do(broker: Broker) -> None:
    await broker.publish(emails("1"))

    async with broker.consume(EMAIL_QUEUE, 1) as source, broker.consume(FAILED_QUEUE, 1) as failures:
        [received] = await receive(source, 1)
        await received.reject("no! " * 100_000)
        [failed] = await receive(failures, 1)

    assert failed.message.headers["x-reason"].startswith("no! no!")


@pytest.mark.parametrize("queue", [EMAIL_QUEUE, PUSH_QUEUE, STATUS_QUEUE])
async def test_a_message_that_nobody_can_settle_ends_in_the_failed_queue(broker: Broker, queue: str) -> None:
    publish = {EMAIL_QUEUE: emails, STATUS_QUEUE: statuses}.get(queue)
    poison = publish("poison") if publish else [Publication(EXCHANGE_NOTIFICATIONS, "push", message("poison"))]
    await broker.publish(poison)

    async with broker.consume(queue, 1) as source, broker.consume(FAILED_QUEUE, 1) as failures:
        for _ in range(topology.DELIVERY_LIMIT + 1):
            [received] = await receive(source, 1)
            await received.requeue()
        [failed] = await receive(failures, 1)

    assert failed.message == Message(
        type="test",
        body=b"poison",
        message_id=poison[0].message.message_id,
        headers={"x-reason": topology.OVER_DELIVERED, "x-original-queue": queue},
    )
    assert (await broker.depth(queue)).messages == 0


async def test_nothing_dies_in_the_failed_queue(broker: Broker) -> None:
    await broker.publish([Publication(EXCHANGE_NOTIFICATIONS, FAILED_KEY, message("kept"))])

    async with broker.consume(FAILED_QUEUE, 1) as failures:
        for _ in range(topology.DELIVERY_LIMIT + 5):
            [failed] = await receive(failures, 1)
            await failed.requeue()

    await until_depth(broker, FAILED_QUEUE, 1)


# -------------------------------------------------------------------------------------------------- many consumers


async def test_two_consumers_share_a_queue(broker: Broker) -> None:
    async with broker.consume(EMAIL_QUEUE, 1) as one, broker.consume(EMAIL_QUEUE, 1) as other:
        await broker.publish(emails("1", "2"))
        [first], [second] = await receive(one, 1), await receive(other, 1)

    assert {*bodies([first]), *bodies([second])} == {"1", "2"}


async def test_the_status_queue_has_one_consumer_at_a_time_and_the_next_one_goes_on_in_order(broker: Broker) -> None:
    numbers = [str(number) for number in range(60)]
    async with AsyncExitStack() as stack:
        active = await stack.enter_async_context(broker.consume(STATUS_QUEUE, 2))
        await until_consumers(broker, STATUS_QUEUE, 1)
        async with broker.consume(STATUS_QUEUE, 2) as standby:
            waiting = asyncio.ensure_future(anext(standby))
            await broker.publish(statuses(*numbers))
            taken = []
            for _ in range(50):
                taken += await receive(active, 1)
                await taken[-1].ack()
            assert bodies(taken) == numbers[:50]
            assert not waiting.done()

            await stack.aclose()  # the active one goes away, with what it had not settled

            async with asyncio.timeout(PATIENCE):
                taken.append(await waiting)
            while len(taken) < 60:
                await taken[-1].ack()
                taken += await receive(standby, 1)

    assert bodies(taken) == numbers


async def test_depth_counts_what_waits_and_who_consumes(broker: Broker) -> None:
    await broker.publish(emails("1", "2", "3"))
    assert await broker.depth(EMAIL_QUEUE) == QueueDepth(messages=3, consumers=0)

    async with broker.consume(EMAIL_QUEUE, 1) as source:
        await receive(source, 1)
        await until_depth(broker, EMAIL_QUEUE, 2)  # what a consumer holds does not wait
        await until_consumers(broker, EMAIL_QUEUE, 1)

    await until_depth(broker, EMAIL_QUEUE, 3)
    await until_consumers(broker, EMAIL_QUEUE, 0)


async def test_the_depth_of_no_queue_is_an_error_and_harms_nobody(broker: Broker) -> None:
    with pytest.raises(BrokerUnavailable):
        await broker.depth("no.such.queue")

    assert await broker.depth(EMAIL_QUEUE) == QueueDepth(messages=0, consumers=0)


# ------------------------------------------------------------------------------------------------------ connection


async def test_callbacks_are_called_once_the_topology_stands(new_broker: Broker) -> None:
    available_then: list[bool] = []
    new_broker.on_connected(lambda: available_then.append(new_broker.available))
    assert not new_broker.available

    await new_broker.connect()
    await new_broker.connect()  # does nothing more

    assert available_then == [True]
    assert await new_broker.depth(FAILED_QUEUE) == QueueDepth(messages=0, consumers=0)
    await new_broker.close()
    assert not new_broker.available


async def test_a_broker_that_is_not_connected_takes_nothing(new_broker: Broker) -> None:
    with pytest.raises(BrokerUnavailable):
        await new_broker.publish(emails("1"))
    with pytest.raises(BrokerUnavailable):
        await new_broker.depth(EMAIL_QUEUE)


async def test_a_consumer_may_be_there_before_the_connection(new_broker: Broker) -> None:
    async with new_broker.consume(EMAIL_QUEUE, 1) as source:
        await new_broker.connect()
        await new_broker.publish(emails("1"))
        assert bodies(await receive(source, 1)) == ["1"]
    await new_broker.close()


async def test_closing_ends_the_consumers_and_keeps_the_messages(new_broker: Broker) -> None:
    await new_broker.connect()
    await new_broker.publish(emails("1"))
    async with new_broker.consume(EMAIL_QUEUE, 1) as source:
        await receive(source, 1)
        waiting = asyncio.ensure_future(anext(source, None))
        await new_broker.close()
        await new_broker.close()  # harmless
        async with asyncio.timeout(PATIENCE):
            assert await waiting is None
            assert await anext(source, None) is None

    await new_broker.connect()
    async with new_broker.consume(EMAIL_QUEUE, 1) as source:
        assert bodies(await receive(source, 1)) == ["1"]
    await new_broker.close()
