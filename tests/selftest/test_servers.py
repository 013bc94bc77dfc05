"""The private servers keep their promises: they start, survive a kill with their data, and leave nothing behind."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aio_pika
import asyncpg
import pytest
import redis.asyncio

from tests.servers import tree
from tests.servers.install import MissingServerError, Software, programs
from tests.servers.ports import free_ports, talk
from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerError, ServerProcess
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer


@pytest.fixture
def run() -> Iterator[Callable[[ServerProcess], None]]:
    """Starts a server; after the test it is closed, and nothing may be left of any process it ever had."""
    servers: list[ServerProcess] = []

    def start(server: ServerProcess) -> None:
        servers.append(server)
        server.start()

    yield start
    for server in servers:
        family = _family(server)
        server.close()
        assert not tree.alive(family)
        assert not server.directory.exists()


def _family(server: ServerProcess) -> list[int]:
    return [server.pid, *tree.descendants(server.pid)] if server.pid is not None else []


def _crash(server: ServerProcess) -> None:
    family = _family(server)
    server.kill()
    assert server.pid is None
    assert not tree.alive(family)


async def test_postgres_keeps_its_data_through_a_kill(run: Callable[[ServerProcess], None]) -> None:
    server = PostgresServer()
    run(server)
    url = server.create_database("kept")
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE notes AS SELECT 'still here' AS text")

    _crash(server)
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.fetchval("SELECT 1")
    server.start()

    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT text FROM notes") == "still here"
    await connection.close()


async def test_postgres_pauses_its_open_connections_too(run: Callable[[ServerProcess], None]) -> None:
    server = PostgresServer()
    run(server)
    connection = await asyncpg.connect(server.url)
    server.pause()
    with pytest.raises(TimeoutError):
        await connection.fetchval("SELECT 1", timeout=0.2)
    server.resume()
    connection = await asyncpg.connect(server.url)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_redis_keeps_its_data_through_a_kill_when_asked_to(run: Callable[[ServerProcess], None]) -> None:
    server = RedisServer(durable=True)
    run(server)
    async with redis.asyncio.Redis.from_url(server.url) as client:
        await client.set("note", "still here")

    _crash(server)
    server.start()

    async with redis.asyncio.Redis.from_url(server.url) as client:
        assert await client.get("note") == b"still here"


async def test_rabbitmq_keeps_its_data_through_a_kill(run: Callable[[ServerProcess], None]) -> None:
    server = RabbitMQServer()
    run(server)
    url = server.create_vhost("kept / really")
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        await channel.declare_queue("notes", durable=True, arguments={"x-queue-type": "quorum"})
        note = aio_pika.Message(b"still here", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(note, "notes")

    server.sync()
    _crash(server)
    assert talk(server.epmd_port, b"\x00\x01n") == b""  # its port mapper is gone too
    server.start()

    async with await aio_pika.connect(url) as connection:
        queue = await (await connection.channel()).get_queue("notes")
        message = await queue.get(timeout=10, no_ack=True)
        assert message is not None
        assert message.body == b"still here"
    server.stop()
    assert talk(server.epmd_port, b"\x00\x01n") == b""


async def test_each_test_gets_a_database_a_vhost_and_a_redis_of_its_own(
    postgres_database: Callable[[], str], rabbitmq_vhost: Callable[[], str], redis_url: str
) -> None:
    assert postgres_database() != postgres_database()
    assert rabbitmq_vhost() != rabbitmq_vhost()
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        assert await client.dbsize() == 0


_CHILD = """
import time
from tests.servers.redis import RedisServer
server = RedisServer().start()
print(server.pid, server.directory, flush=True)
time.sleep(60)
"""


def test_nothing_is_left_when_the_process_that_started_a_server_is_killed() -> None:
    child = subprocess.Popen([sys.executable, "-c", _CHILD], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    number, name = child.stdout.readline().split()
    assert tree.alive([int(number)])

    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()

    deadline = time.monotonic() + 10
    while tree.alive([int(number)]) or Path(name).exists():
        assert time.monotonic() < deadline, "the guard did not clean up"
        time.sleep(0.02)


def test_a_server_that_cannot_start_shows_its_log() -> None:
    first, second = RedisServer(), RedisServer()
    second.port = first.port
    with first, pytest.raises(ServerError, match=r"(?s)ended while starting.*Address already in use"), second:
        pass  # pragma: no cover


def test_a_missing_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.servers.install._install", lambda _software: None)
    missing = Software("Nonesuch 1", "nonesuch-server", ("nonesuch-server",), (), "HELIOGRAPH_TEST_NONESUCH_URL")
    with pytest.raises(MissingServerError, match=r"apt-get install nonesuch-server.*HELIOGRAPH_TEST_NONESUCH_URL"):
        programs(missing)


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20
