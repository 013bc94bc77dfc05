"""What several suites of contracts share."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from api.database import Databases
from tests.contracts.gateway_store import Store
from tests.servers.redis import RedisServer


@pytest.fixture(params=["sqlite", "postgres"])
async def databases(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Databases]:
    """A new gateway database on each engine."""
    if request.param == "sqlite":
        url = f"sqlite://{tmp_path}/gateway.db"
    else:
        make: Callable[[], str] = request.getfixturevalue("postgres_database")
        url = make()
    databases = await Databases.open({"gateway": url})
    await databases.migrate()
    yield databases
    await databases.close()


@pytest.fixture
async def store(databases: Databases) -> AsyncIterator[Store]:
    """The same with everything on it; whatever a test does to it, the invariants hold."""
    store = Store(databases)
    yield store
    await store.check_invariants()


@pytest.fixture
def crashing_redis() -> Iterator[RedisServer]:
    """A Redis of this test's own, to do with as it likes; not started."""
    server = RedisServer()
    yield server
    server.close()
