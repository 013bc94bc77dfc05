"""What several suites of contracts share."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from api.database import Databases
from tests.contracts.gateway_store import Store


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A new gateway database on each engine; whatever a test does to it, the invariants hold."""
    if request.param == "sqlite":
        url = f"sqlite://{tmp_path}/gateway.db"
    else:
        make: Callable[[], str] = request.getfixturevalue("postgres_database")
        url = make()
    databases = await Databases.open({"gateway": url})
    await databases.migrate()
    store = Store(databases)
    yield store
    await store.check_invariants()
    await databases.close()
