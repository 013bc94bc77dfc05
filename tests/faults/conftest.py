"""Servers that the tests of this folder may break."""

from collections.abc import Iterator

import pytest

from tests.faults.system import Servers
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.redis import RedisServer


@pytest.fixture(scope="session")
def private_servers() -> Iterator[Servers]:
    """Servers of our own: what a test breaks, it mends."""
    with PostgresServer() as postgres, RabbitMQServer() as rabbitmq, RedisServer() as redis:
        yield Servers(postgres, rabbitmq, redis)
