"""The User and Template Services on both engines, called through their clients; a gateway, and its database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.database import Databases
from api.server import Server
from api.users.client import UsersClient
from tests.services.gateway_fakes import Gateway, running_gateway
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
async def gateway() -> AsyncIterator[Gateway]:
    """A gateway with nothing in it."""
    async with running_gateway() as running:
        yield running


@pytest.fixture
async def address(gateway: Gateway) -> AsyncIterator[str]:
    """Host and port where the gateway is served."""
    server = Server(gateway.app, "127.0.0.1", 0)
    await server.start()
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        await server.stop()


@pytest.fixture
async def databases(tmp_path: Path) -> AsyncIterator[Databases]:
    """An empty gateway database."""
    databases = await Databases.open({"gateway": f"sqlite://{tmp_path}/gateway.db"})
    await databases.migrate()
    yield databases
    await databases.close()
