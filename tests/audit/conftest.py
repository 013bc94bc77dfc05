"""A whole Heliograph that programs of others talk to."""

from collections.abc import Callable, Iterator

import pytest

from tests.audit.programs import FOLDER
from tests.servers import npm
from tests.servers.roles import API_KEY, Cluster, Process


@pytest.fixture(scope="session")
def packages() -> None:
    """What comes from npm is installed."""
    npm.install(FOLDER)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Process]]:
    """Each call starts a `heliograph up` of its own; all are stopped in the end."""
    clusters: list[Cluster] = []

    def up() -> Process:
        folder = tmp_path_factory.mktemp("audited")
        clusters.append(Cluster(folder, {"HELIOGRAPH_VAR_DIR": str(folder / "var"), "HELIOGRAPH_API_KEY": API_KEY}))
        gateway = clusters[-1].add_role("gateway", "up")
        gateway.wait_ready()
        return gateway

    yield up
    for cluster in clusters:
        cluster.stop()


@pytest.fixture(scope="module")
def url(start: Callable[[], Process]) -> str:
    """The address of one that runs."""
    return address_of(start())


def address_of(gateway: Process) -> str:
    """Where it speaks GraphQL."""
    return f"http://127.0.0.1:{gateway.port}/graphql"
