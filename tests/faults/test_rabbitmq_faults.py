"""RabbitMQ killed, frozen, in alarm, and losing what it holds: the rows know, and everything is sent once."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Sequence

import aio_pika
import httpx
import pytest

from tests.faults.sink import Stage
from tests.faults.system import PATIENT, Servers, System, scaled_out, until
from tests.servers.install import RABBITMQ, programs
from tests.servers.rabbitmq import RabbitMQServer

SOME = 10


@pytest.fixture(scope="module")
async def system(private_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """A gateway (with its dispatcher), a relay and a worker, on a broker that may be broken."""
    folder = tmp_path_factory.mktemp("rabbitmq")
    async with scaled_out(private_servers, folder, "gateway", "relay", "email", **PATIENT) as running:
        yield running


@pytest.fixture
def rabbitmq(private_servers: Servers) -> RabbitMQServer:
    """The broker."""
    return private_servers.rabbitmq


async def set_memory_limit(server: RabbitMQServer, share: float) -> None:
    """How much of the memory RabbitMQ may use; with 0 it is in alarm at once."""
    await asyncio.to_thread(
        subprocess.run,
        [str(programs(RABBITMQ)["rabbitmqctl"]), "set_vm_memory_high_watermark", str(share)],
        env={**os.environ, **server.environment()},
        cwd=server.directory,
        stdout=subprocess.DEVNULL,
        check=True,
    )


async def all_published(system: System, ids: Sequence[str]) -> None:
    for id in ids:
        await system.until_row(id, status="QUEUED")


async def test_killed_with_mails_on_every_hop(system: System, rabbitmq: RabbitMQServer) -> None:
    one = await system.hold_one(Stage.ANSWER)
    waiting = await system.send_many(SOME)
    await asyncio.to_thread(rabbitmq.kill)
    one.hold.release()
    accepted = await system.send_many(SOME)
    await system.until_settled(one.id)
    await system.end_lease(one.id)
    await asyncio.to_thread(rabbitmq.start)

    await system.check_sent_once([one.id, *waiting, *accepted])


async def test_frozen_for_longer_than_its_heartbeats(system: System, rabbitmq: RabbitMQServer) -> None:
    one = await system.hold_one(Stage.ANSWER)
    await asyncio.to_thread(rabbitmq.pause)
    try:
        one.hold.release()
        accepted = await system.send_many(SOME)
        for role in ("gateway", "relay", "email"):
            await system.until_it_says(role, "broker", "down")
        await system.until_settled(one.id)
        await system.end_lease(one.id)
    finally:
        await asyncio.to_thread(rabbitmq.resume)

    await system.check_sent_once([one.id, *accepted])


async def test_in_a_memory_alarm(system: System, rabbitmq: RabbitMQServer) -> None:
    await set_memory_limit(rabbitmq, 0)
    try:
        with pytest.raises(httpx.HTTPStatusError, match="503"):
            await asyncio.to_thread(rabbitmq.call, "GET", "health/checks/local-alarms")
        accepted = await system.send_many(SOME)
        await system.until_row(accepted[0], drives=1)
        # Taken, and nobody takes it from us.
        assert await system.history(accepted[0]) == ["ACCEPTED"]
    finally:
        await set_memory_limit(rabbitmq, 0.6)

    await system.check_sent_once(accepted)


@pytest.mark.parametrize("how", ["purged", "deleted"])
async def test_its_delivery_queue_is_lost(system: System, how: str) -> None:
    system.kill("email")
    ids = await system.send_many(SOME)
    await all_published(system, ids)
    await lose(system, "email.queue", how)
    more = await system.send_many(SOME)
    await system.start("email")

    await system.check_sent_once([*ids, *more])


async def test_its_reports_are_lost(system: System) -> None:
    held = await asyncio.gather(*(system.hold_one(Stage.ANSWER) for _ in range(3)))
    system.kill("relay")
    for one in held:
        one.hold.release()
        await system.until_settled(one.id)
    await lose(system, "status.queue", "purged")
    for one in held:
        await system.end_lease(one.id)
    await system.start("relay")

    await system.check_sent_once([one.id for one in held])


async def lose(system: System, name: str, how: str) -> None:
    """An operator's accident, with messages in the queue."""
    async with await aio_pika.connect(system.broker_url) as connection, connection.channel() as channel:

        async def filled() -> aio_pika.abc.AbstractQueue | None:
            queue = await channel.declare_queue(name, passive=True)
            return queue if queue.declaration_result.message_count else None

        queue = await until(filled)
        assert queue is not None
        if how == "purged":
            await queue.purge()
        else:
            await queue.delete(if_unused=False, if_empty=False)
