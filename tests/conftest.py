"""Fixtures that every test may ask for. The servers are real, start when first asked for, and end with the session.

Named in the environment (`HELIOGRAPH_TEST_POSTGRES_URL`, …), a running server is used instead of a private one. A test
that kills, pauses or restarts a server makes one of its own: `with PostgresServer() as server: …`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar
from uuid import uuid4

import pytest
from hypothesis import settings

from tests.servers.postgres import Postgres, postgres_from
from tests.servers.process import ServerProcess
from tests.servers.rabbitmq import RabbitMQ, rabbitmq_from
from tests.servers.redis import Redis, redis_from

Server = TypeVar("Server")

# How long an example takes says how busy the machine is, and nothing of what is promised.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


@contextmanager
def _running(server: Server) -> Iterator[Server]:
    with server if isinstance(server, ServerProcess) else ExitStack():
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL, shared by all tests."""
    with _running(postgres_from(dict(os.environ))) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A running Redis, shared by all tests."""
    with _running(redis_from(dict(os.environ))) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A running RabbitMQ, shared by all tests."""
    with _running(rabbitmq_from(dict(os.environ))) as server:
        yield server


@pytest.fixture
def postgres_database(postgres: Postgres) -> Iterator[Callable[[], str]]:
    """Each call makes an empty database and returns its URL; all are dropped after the test."""
    with _made(postgres.create_database, postgres.drop_database) as make:
        yield make


@pytest.fixture
def rabbitmq_vhost(rabbitmq: RabbitMQ) -> Iterator[Callable[[], str]]:
    """Each call makes an empty virtual host and returns its URL; all are deleted after the test."""
    with _made(rabbitmq.create_vhost, rabbitmq.delete_vhost) as make:
        yield make


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """An empty Redis database. Pub/sub channels are shared by all databases: name them after your test."""
    return redis_server.fresh_database()


@contextmanager
def _made(create: Callable[[str], str], remove: Callable[[str], None]) -> Iterator[Callable[[], str]]:
    with ExitStack() as cleanup:

        def make() -> str:
            name = f"test_{uuid4().hex}"
            url = create(name)
            cleanup.callback(remove, name)
            return url

        yield make
