"""Whole systems, started as processes the way users start them."""

import json
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import redis
import yaml

from tests.e2e.api import Api
from tests.servers.roles import API_KEY, Cluster, free_port

ROOT = Path(__file__).parents[2]
JWT_SECRET = "b0d5e8f4a1c9267380ff5b7e6d21a4c8"
"""What the tokens of the tests' end users are signed with."""
GIVEN = {
    "POSTGRES_PASSWORD": "p",
    "RABBITMQ_PASSWORD": "r",
    "GRAFANA_PASSWORD": "g",
    "HELIOGRAPH_SERVICE_TOKEN": "5d1e8a94c07b3f62",
    "HELIOGRAPH_SECRET": "c3f7a10e94d2b8561f0e7a3c9d84b26e",
    "HELIOGRAPH_JWT_SECRET": JWT_SECRET,
}
_VARIABLE = re.compile(r"\$\{(\w+)(?::?([-?])([^}]*))?\}")
FAST = {"HELIOGRAPH_RETRY_SCHEDULE": "0.3,0.6", "HELIOGRAPH_LOG_LEVEL": "INFO"}


class Compose:
    """`compose.yml`, read as Docker would read it, with this machine's addresses in place of the services' names."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        document: dict[str, Any] = yaml.safe_load((ROOT / "compose.yml").read_text())
        self._services = document["services"]
        self._addresses = addresses

    def roles(self) -> list[str]:
        """The services that are roles of ours, without those that a profile adds."""
        ours = {name: service for name, service in self._services.items() if service.get("image") == "heliograph"}
        return [name for name, service in ours.items() if not service.get("profiles")]

    def command(self, role: str) -> list[str]:
        """What follows `heliograph` on the command line."""
        return str(self._services[role]["command"]).split()

    def environment(self, role: str) -> dict[str, str]:
        """The variables, filled in and pointing at this machine."""
        found = self._services[role]["environment"]
        return {name: self._here(_VARIABLE.sub(self._fill, str(value))) for name, value in found.items()}

    def _fill(self, match: re.Match[str]) -> str:
        name, kind, text = match.groups()
        if name in GIVEN:
            return GIVEN[name]
        assert kind == "-" or name == "HELIOGRAPH_API_KEY", f"{name} has no default and is not given"
        return text if kind == "-" else API_KEY

    def _here(self, value: str) -> str:
        host = urlsplit(value).hostname if "://" in value else None
        if host is None:
            return "127.0.0.1" if value == "0.0.0.0" else value
        return self._addresses[f"{host}:{urlsplit(value).port}"]


class Running(msgspec.Struct, frozen=True):
    """A system that runs: its gateway's port, where its sandbox shows what was sent, and its processes.

    Where it is one of `compose.yml`, `compose` and `ports` say how a role of it is started again.
    """

    cluster: Cluster
    port: int
    sandbox_port: int
    compose: Compose | None = None
    ports: dict[str, int] = {}

    def start_again(self, role: str) -> None:
        """Start a role that was killed, where it was."""
        assert self.compose is not None, "only a scaled-out system has roles of its own"
        start_role(self.cluster, self.compose, role, self.ports)


@pytest.fixture(scope="module")
def scaled_out(
    postgres: Any, rabbitmq: Any, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Every role of `compose.yml` as a process, on real PostgreSQL, RabbitMQ and Redis."""
    with ExitStack() as stack:
        yield start_compose(stack, postgres, rabbitmq, redis_server, tmp_path_factory.mktemp("roles"))


def start_compose(
    stack: ExitStack, postgres: Any, rabbitmq: Any, redis_server: Any, folder: Path, **more: str
) -> Running:
    """Start the very commands of `compose.yml`, with `more` settings; all is stopped and dropped with the stack."""
    name = folder.name.replace("-", "_")
    ports = {role: free_port() for role in ("gateway", "users", "templates", "sandbox", "smtp")}
    addresses = {
        "rabbitmq:5672": rabbitmq.create_vhost(name),
        "redis:6379": redis_server.fresh_database(),
        "sandbox:8090": f"http://127.0.0.1:{ports['sandbox']}",
        "sandbox:1025": f"smtp://127.0.0.1:{ports['smtp']}",
    }
    stack.callback(rabbitmq.delete_vhost, name)
    for service in ("gateway", "users", "templates"):
        addresses[f"postgres-{service}:5432"] = postgres.create_database(f"{name}_{service}")
        stack.callback(postgres.drop_database, f"{name}_{service}")
    compose = Compose(addresses)
    cluster = Cluster(folder, {**FAST, **more})
    stack.callback(cluster.stop)
    for role in compose.roles():
        start_role(cluster, compose, role, ports)
    for process in cluster.processes.values():
        if process.name != "migrate":
            process.wait_ready()
    _wait_registered(addresses["redis:6379"], "users", "templates")
    return Running(cluster, ports["gateway"], ports["sandbox"], compose, ports)


def _wait_registered(redis_url: str, *services: str, seconds: float = 30.0) -> None:
    """Return when the registry names an instance of each: one is ready a moment before the others know."""
    ends_at = time.monotonic() + seconds
    with redis.Redis.from_url(redis_url, decode_responses=True) as registry:
        while time.monotonic() < ends_at:
            entries = [registry.get(key) for key in registry.scan_iter("heliograph:instance:*")]
            if set(services) <= {json.loads(str(entry))["service"] for entry in entries if entry}:
                return
            time.sleep(0.05)
    raise RuntimeError(f"not all of {', '.join(services)} registered within {seconds:g} s")


def start_role(cluster: Cluster, compose: Compose, role: str, ports: Mapping[str, int]) -> None:
    """Start one service of the file, on a port of this machine."""
    env, port = compose.environment(role), ports.get(role) or free_port()
    if role == "sandbox":
        env["HELIOGRAPH_SANDBOX_SMTP_PORT"] = str(ports["smtp"])
    # A container is found under its name, a process of this machine under its port.
    env["HELIOGRAPH_ADVERTISE_URL"] = f"http://127.0.0.1:{port}"
    cluster.add_role(role, *compose.command(role), port=port, **env)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`heliograph up`."""
    with start_embedded(tmp_path_factory.mktemp("embedded")) as running:
        yield running


@contextmanager
def start_embedded(folder: Path, **more: str) -> Iterator[Running]:
    """Start `heliograph up` with its data in `folder` and `more` settings; it is stopped at the end."""
    own = {
        "HELIOGRAPH_VAR_DIR": str(folder / "var"),
        "HELIOGRAPH_API_KEY": API_KEY,
        "HELIOGRAPH_JWT_SECRET": JWT_SECRET,
    }
    cluster = Cluster(folder, {**own, **FAST, **more})
    gateway = cluster.add_role("gateway", "up")
    try:
        gateway.wait_ready()
        yield Running(cluster, gateway.port, gateway.port)
    finally:
        cluster.stop()


@pytest.fixture(params=["embedded", "scaled_out"])
def running(request: pytest.FixtureRequest) -> Running:
    """Both engines, one after the other."""
    found: Running = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def api(running: Running) -> AsyncIterator[Api]:
    """A client of the running system."""
    async with Api(running.port, API_KEY) as client:
        yield client
