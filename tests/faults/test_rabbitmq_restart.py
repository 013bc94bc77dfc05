"""RabbitMQ goes away, comes back, or loses things while we use it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit
from uuid import uuid4

import aio_pika
import pytest

from domain.concurrency import backoff
from domain.errors import BrokerUnavailable
from domain.ports import Message, Publication, Received
from tests.servers.rabbitmq import RabbitMQ, RabbitMQServer
from workers.broker import topology
from workers.broker.rabbitmq import RabbitBroker
from workers.broker.topology import EMAIL_QUEUE, EXCHANGE_NOTIFICATIONS, FAILED_QUEUE

PATIENCE = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[RabbitMQServer]:
    """A broker that may be killed."""
    with RabbitMQServer() as running:
        yield running


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[RabbitBroker]:
    broker = RabbitBroker(url)
    try:
        async with asyncio.timeout(PATIENCE):
            await broker.connect()
        yield broker
    finally:
        await broker.close()


def emails(*bodies: str) -> list[Publication]:
    return [
        Publication(EXCHANGE_NOTIFICATIONS, "email", Message(type="test", body=body.encode(), message_id=uuid4().hex))
        for body in bodies
    ]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        async for _ in backoff(first=0.01, limit=0.05):
            if condition():
                return


async def publish_stubbornly(broker: RabbitBroker, publications: list[Publication]) -> None:
    """As the dispatcher does it: again and again until it is confirmed."""
    async with asyncio.timeout(PATIENCE):
        async for _ in backoff(first=0.05, limit=0.2):
            with suppress(BrokerUnavailable):
                await broker.publish(publications)
                return


async def receive(source: AsyncIterator[Received]) -> Received:
    async with asyncio.timeout(PATIENCE):
        return await anext(source)


async def receive_until(source: AsyncIterator[Received], last: str) -> list[str]:
    """Acknowledge what comes, up to `last`; redelivered messages may come twice."""
    seen: list[str] = []
    while not seen or seen[-1] != last:
        received = await receive(source)
        seen.append(received.message.body.decode())
        await received.ack()
    return seen


async def test_a_killed_broker_comes_back_and_everything_goes_on_by_itself(server: RabbitMQServer) -> None:
    connections = 0

    def count() -> None:
        nonlocal connections
        connections += 1

    async with connected(server.url) as broker, broker.consume(EMAIL_QUEUE, 1) as source:
        broker.on_connected(count)
        await broker.publish(emails("held", "waiting"))
        held = await receive(source)

        await kill(server)
        await until(lambda: not broker.available)
        with pytest.raises(BrokerUnavailable):
            await broker.publish(emails("into the void"))
        with pytest.raises(BrokerUnavailable):
            await broker.depth(EMAIL_QUEUE)
        await held.ack()  # swallowed: its channel is gone
        assert connections == 0

        await asyncio.to_thread(server.start)
        await until(lambda: broker.available)
        await until(lambda: connections == 1)
        await publish_stubbornly(broker, emails("afterwards"))
        seen: set[str] = set()
        while len(seen) < 3:  # a crash may change the order of what it hands out again
            received = await receive(source)
            seen.add(received.message.body.decode())
            await received.ack()

    assert seen == {"held", "waiting", "afterwards"}


async def test_what_was_confirmed_before_the_kill_is_there_after_it(server: RabbitMQServer) -> None:
    confirmed: set[str] = set()
    async with connected(server.url) as broker:

        async def publish_on() -> None:
            for number in range(1_000_000):
                batch = [f"{number}.{part}" for part in range(20)]
                await broker.publish(emails(*batch))
                confirmed.update(batch)

        publishing = asyncio.ensure_future(publish_on())
        await until(lambda: len(confirmed) >= 200)
        await kill(server)
        with pytest.raises(BrokerUnavailable):
            await publishing

        await asyncio.to_thread(server.start)
        await publish_stubbornly(broker, emails("end"))
        async with broker.consume(EMAIL_QUEUE, 100) as source:
            seen = await receive_until(source, "end")

    assert confirmed <= set(seen)


async def test_connecting_waits_for_a_broker_that_starts_later(server: RabbitMQServer) -> None:
    await kill(server)
    broker = RabbitBroker(server.url)
    connecting = asyncio.ensure_future(broker.connect())
    await asyncio.sleep(0)
    assert not connecting.done()

    await asyncio.to_thread(server.start)
    async with asyncio.timeout(PATIENCE):
        await connecting

    assert broker.available
    await broker.close()


async def test_giving_up_while_the_broker_is_away_ends_cleanly(server: RabbitMQServer) -> None:
    async with connected(server.url) as broker, broker.consume(EMAIL_QUEUE, 1) as source:
        await kill(server)
        await until(lambda: not broker.available)
        waiting = asyncio.ensure_future(anext(source, None))
        async with asyncio.timeout(PATIENCE):
            await broker.close()
            assert await waiting is None
    await asyncio.to_thread(server.start)


async def test_a_frozen_broker_costs_a_deadline_and_nothing_else(server: RabbitMQServer) -> None:
    async with connected(server.url) as broker:
        await asyncio.to_thread(server.pause)
        try:
            with pytest.raises(BrokerUnavailable, match=r"within 0\.5 s"):
                await broker.publish(emails("late"), deadline=0.5)
        finally:
            await asyncio.to_thread(server.resume)

        await publish_stubbornly(broker, emails("in time"))
        async with broker.consume(EMAIL_QUEUE, 10) as source:
            assert "in time" in await receive_until(source, "in time")


async def test_a_frozen_broker_can_be_left(server: RabbitMQServer) -> None:
    async with connected(server.url) as broker, broker.consume(EMAIL_QUEUE, 1):
        await asyncio.to_thread(server.pause)
        try:
            async with asyncio.timeout(PATIENCE):
                await broker.close()
        finally:
            await asyncio.to_thread(server.resume)
        assert not broker.available


@pytest.mark.parametrize("what", ["queue", "exchange"])
async def test_what_somebody_deleted_is_made_again(rabbitmq_vhost: Callable[[], str], what: str) -> None:
    url = rabbitmq_vhost()
    async with connected(url) as broker, broker.consume(EMAIL_QUEUE, 1) as source:
        await broker.publish(emails("before"))
        await (await receive(source)).ack()

        await delete(url, what)

        await publish_stubbornly(broker, emails("after"))
        assert await receive_until(source, "after") == ["after"]


async def test_a_deleted_queue_that_nobody_consumes_is_made_again_by_publishing(
    rabbitmq_vhost: Callable[[], str],
) -> None:
    url = rabbitmq_vhost()
    async with connected(url) as broker:
        await delete(url, "queue")

        with pytest.raises(BrokerUnavailable):
            await broker.publish(emails("lost"))
        await publish_stubbornly(broker, emails("kept"))

        assert (await broker.depth(EMAIL_QUEUE)).messages == 1


async def test_a_message_is_not_lost_when_its_way_to_the_failed_queue_is_gone(
    rabbitmq_vhost: Callable[[], str],
) -> None:
    url = rabbitmq_vhost()
    async with connected(url) as broker, broker.consume(EMAIL_QUEUE, 1) as source:
        await broker.publish(emails("bad"))
        first = await receive(source)
        await delete(url, "failed")

        await first.reject("It is bad.")
        async with broker.consume(FAILED_QUEUE, 1) as failures:
            failed = await receive(failures)

        assert (failed.message.body, failed.message.headers["x-reason"]) == (b"bad", "It is bad.")
        assert (await broker.depth(EMAIL_QUEUE)).messages == 0


async def test_a_stranger_s_message_can_be_read_and_rejected(rabbitmq_vhost: Callable[[], str]) -> None:
    url = rabbitmq_vhost()
    async with connected(url) as broker, broker.consume(EMAIL_QUEUE, 1) as source:
        async with await aio_pika.connect(url) as connection, connection.channel() as channel:
            exchange = await channel.get_exchange(EXCHANGE_NOTIFICATIONS)
            strange = aio_pika.Message(b"\xff\x00", headers={"n": 1, "list": [1, 2], "t": "text", "none": None})
            strange.message_id = None
            await exchange.publish(strange, "email")

        received = await receive(source)
        await received.reject("It is no message of ours.")
        async with broker.consume(FAILED_QUEUE, 1) as failures:
            failed = await receive(failures)

    assert (received.message.type, received.message.correlation_id) == ("", None)
    assert received.message.headers == {"t": "text"}
    assert failed.message.body == b"\xff\x00"


def test_the_topology_that_stands_is_the_one_on_paper(rabbitmq: RabbitMQ, rabbitmq_vhost: Callable[[], str]) -> None:
    url = rabbitmq_vhost()

    async def connect() -> None:
        async with connected(url), connected(url):  # twice: to declare again changes nothing
            pass

    asyncio.run(connect())

    standing = rabbitmq.call("GET", f"definitions{urlsplit(url).path}").json()
    assert {(each["name"], each["type"], each["durable"]) for each in standing["exchanges"]} == {
        (each.name, each.kind, True) for each in topology.EXCHANGES
    }
    assert {each["name"]: each["arguments"] for each in standing["queues"]} == {
        each.name: each.arguments for each in topology.QUEUES
    }
    assert {(each["source"], each["routing_key"], each["destination"]) for each in standing["bindings"]} == {
        (each.exchange, each.key, each.queue) for each in topology.BINDINGS
    }


async def kill(server: RabbitMQServer) -> None:
    """SIGKILL, once the queues themselves are on disk."""
    await asyncio.to_thread(server.sync)
    await asyncio.to_thread(server.kill)


async def delete(url: str, what: str) -> None:
    """An operator's accident."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        if what == "exchange":
            await channel.exchange_delete(EXCHANGE_NOTIFICATIONS)
        else:
            await channel.queue_delete(FAILED_QUEUE if what == "failed" else EMAIL_QUEUE)
