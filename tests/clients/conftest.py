"""A gateway, a caller of it, and the clients from npm."""

from collections.abc import AsyncIterator

import pytest

from tests.clients.gateway import Gateway
from tests.clients.programs import HERE
from tests.e2e.api import Api
from tests.servers import npm
from tests.servers.roles import API_KEY


@pytest.fixture(scope="session", autouse=True)
def clients() -> None:
    """The packages that the recipes import."""
    npm.install(HERE)


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """One that runs. A test that stops it starts it again."""
    gateway = Gateway(tmp_path_factory.mktemp("gateway"))
    try:
        await gateway.start()
        yield gateway
    finally:
        await gateway.stop()


@pytest.fixture
async def api(gateway: Gateway) -> AsyncIterator[Api]:
    """A caller with every scope."""
    async with Api(gateway.port, API_KEY) as client:
        yield client
