"""The User and Template Services on both engines, called through their clients; a gateway's database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.database import Databases
from api.users.client import UsersClient
from tests.services.user_service import TOKEN, UserService, user_service


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each engine."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/service.db"
    return str(request.getfixturevalue("postgres_database")())


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[UserService]:
    """A running User Service without users."""
    async with user_service(database_url) as running:
        yield running


@pytest.fixture
async def users(service: UserService) -> AsyncIterator[UsersClient]:
    """The same through its client."""
    async with service.wire.client() as http:
        yield UsersClient(http, service_token=TOKEN)


@pytest.fixture
async def databases(tmp_path: Path) -> AsyncIterator[Databases]:
    """An empty gateway database."""
    databases = await Databases.open({"gateway": f"sqlite://{tmp_path}/gateway.db"})
    await databases.migrate()
    yield databases
    await databases.close()
