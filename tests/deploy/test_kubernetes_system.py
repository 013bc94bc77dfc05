"""The roles of the manifests as processes, with exactly what their pods get, and this machine's addresses in it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.deploy.manifests import container, environment, of_kind, secret_names
from tests.e2e.api import WATCH, Api
from tests.servers.roles import API_KEY, Cluster, free_port

SECRETS = {
    "HELIOGRAPH_SERVICE_TOKEN": "5d1e8a94c07b3f62d8e90b17a46c25f3",
    "HELIOGRAPH_SECRET": "c3f7a10e94d2b8561f0e7a3c9d84b26e",
    "HELIOGRAPH_API_KEY": API_KEY,
}
pytestmark = pytest.mark.timeout(300)  # a dozen processes start first
ROLES = ("users", "templates", "gateway", "email", "relay", "dispatch")
"""The Push Service is not among them: it would ask Google for its access token."""


@pytest.fixture(scope="module")
def addresses(
    postgres: Any, rabbitmq: Any, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """What each address of the manifests is here: servers, and ports for the roles."""
    name = tmp_path_factory.mktemp("kubernetes").name.replace("-", "_")
    found = {f"{service}:8000": f"http://127.0.0.1:{free_port()}" for service in ("users", "templates")}
    found["mail.example.com:587"] = f"smtp://127.0.0.1:{free_port()}"
    found["redis:6379"] = redis_server.fresh_database()
    found["rabbitmq:5672"] = rabbitmq.create_vhost(name)
    with ExitStack() as stack:
        stack.callback(rabbitmq.delete_vhost, name)
        for service in ("gateway", "users", "templates"):
            database = f"{name}_{service}"
            found[f"postgres-{service}:5432"] = postgres.create_database(database)
            stack.callback(postgres.drop_database, database)
        yield found


@pytest.fixture(scope="module")
def cluster(addresses: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The migration, which ends, and then the roles."""
    started = Cluster(tmp_path_factory.mktemp("pods"), {"HELIOGRAPH_HOST": "127.0.0.1"})
    with ExitStack() as stack:
        stack.callback(started.stop)
        _start_mail_server(started, addresses)
        migrate = _start(started, "migrate", of_kind("Job")["migrate"], addresses)
        assert migrate.wait() == 0, migrate.log_text()
        for role in ROLES:
            _start(started, role, of_kind("Deployment")[role], addresses)
        for role in ROLES:
            started.processes[role].wait_ready()
        yield started


def _start(cluster: Cluster, role: str, document: dict[str, Any], addresses: dict[str, str]) -> Any:
    given = environment(document, {**secret_names(), **SECRETS})
    here = {name: _here(value, addresses) for name, value in given.items() if value}
    port = urlsplit(addresses[f"{role}:8000"]).port if f"{role}:8000" in addresses else free_port()
    return cluster.add_role(role, *container(document)["args"], port=port, **here)


def _start_mail_server(cluster: Cluster, addresses: dict[str, str]) -> None:
    """The sandbox's mailbox, where the manifests have somebody's mail server."""
    port = str(urlsplit(addresses["mail.example.com:587"]).port)
    cluster.add_role("sandbox", "work", "sandbox", HELIOGRAPH_SANDBOX_SMTP_PORT=port).wait_ready()


def _here(value: str, addresses: dict[str, str]) -> str:
    """A value with this machine's address in place of the cluster's."""
    parts = urlsplit(value) if "://" in value else None
    return value if parts is None else addresses.get(f"{parts.hostname}:{parts.port}", value)


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[Api]:
    """A client of the gateway."""
    async with Api(cluster.processes["gateway"].port, API_KEY) as client:
        yield client


async def test_a_notification_goes_through(api: Api) -> None:
    user = {"id": "usr_1", "email": "ada@example.com"}
    create = "mutation ($input: CreateUserInput!) { create_user(input: $input) { success } }"
    assert (await api.payload(create, input=user))["success"]
    id = await api.send_one(recipient={"user_id": "usr_1"})
    assert [event["status"] for event in await api.watch(WATCH, id=id)][-1] == "SENT"


async def test_the_playground_is_closed_as_the_settings_say(api: Api) -> None:
    answer = await api.http.get("/graphql", headers={"Accept": "text/html"})
    assert answer.status_code != 200


def test_the_log_is_for_machines(cluster: Cluster) -> None:
    lines = cluster.processes["gateway"].log_text().splitlines()
    assert all(line.startswith("{") for line in lines)
