"""One gateway for many examples: in this process with everything behind it in memory, and as a process of its own."""

import logging
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
import pytest_asyncio

from api.server import Server
from tests.servers.roles import API_KEY, Cluster, Process
from tests.services.gateway_fakes import Gateway, running_gateway


class Served(msgspec.Struct, frozen=True):
    """A gateway on a real port, and the errors and warnings that were logged since the last look."""

    gateway: Gateway
    port: int
    logged: list[str]

    @property
    def socket_url(self) -> str:
        """Where its sockets are."""
        return f"ws://127.0.0.1:{self.port}/graphql"

    def taken_amiss(self) -> list[str]:
        """What was logged as an error, or with a traceback, since the last look."""
        found = list(self.logged)
        self.logged.clear()
        return found


class _Ear(logging.Handler):
    """Keeps what must not be said."""

    def __init__(self, kept: list[str]) -> None:
        super().__init__()
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.exc_info:
            self._kept.append(logging.Formatter().format(record))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served() -> AsyncIterator[Served]:
    """A gateway with nothing in it."""
    logged: list[str] = []
    ear = _Ear(logged)
    logging.getLogger().addHandler(ear)
    async with running_gateway() as gateway:
        server = Server(gateway.app, "127.0.0.1", 0)
        await server.start()
        try:
            yield Served(gateway, server.port, logged)
        finally:
            await server.stop()
            logging.getLogger().removeHandler(ear)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """`heliograph up`, whose log must not hold a traceback when the tests are over."""
    folder = tmp_path_factory.mktemp("fuzzed")
    own = {
        "HELIOGRAPH_VAR_DIR": str(folder / "var"),
        "HELIOGRAPH_API_KEY": API_KEY,
        "HELIOGRAPH_RATE_LIMIT": "off",
        "HELIOGRAPH_LOG_LEVEL": "WARNING",
    }
    cluster = Cluster(folder, own)
    gateway = cluster.add_role("gateway", "up")
    try:
        gateway.wait_ready()
        yield gateway
        assert "Traceback" not in gateway.log_text()
    finally:
        cluster.stop()
