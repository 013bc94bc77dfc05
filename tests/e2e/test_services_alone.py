"""Each REST service by itself: it starts, serves and describes itself with nothing but its own database. And how the
others find it: by the registry, whichever of its instances lives."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.api import Api
from tests.e2e.conftest import GIVEN
from tests.e2e.test_people import CREATE_USER, person
from tests.servers.roles import API_KEY, Cluster, free_port

TOKEN = {"Authorization": f"Bearer {GIVEN['HELIOGRAPH_SERVICE_TOKEN']}"}
CREATE = {
    "users": ("/v1/users", {"id": "usr_1", "email": "ada@example.com"}),
    "templates": ("/v1/templates", {"key": "welcome"}),
}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Processes to be started by the test."""
    started = Cluster(tmp_path, {name: GIVEN[name] for name in ("HELIOGRAPH_SERVICE_TOKEN", "HELIOGRAPH_SECRET")})
    yield started
    started.stop()


@pytest.mark.parametrize("service", CREATE)
async def test_a_service_serves_alone(service: str, cluster: Cluster, postgres_database: Callable[[], str]) -> None:
    url: dict[str, Any] = {f"HELIOGRAPH_{service.upper()}_DATABASE_URL": postgres_database()}
    process = cluster.add_role(service, "serve", service, **url)
    await asyncio.to_thread(process.wait_ready)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{process.port}") as http:
        health = (await http.get("/health")).json()
        assert (health["success"], health["data"]["status"]) == (True, "ok")
        document = (await http.get("/openapi.json")).json()
        path, body = CREATE[service]
        assert path in document["paths"]
        assert (await http.get("/docs")).headers["content-type"].startswith("text/html")
        assert (await http.post(path, json=body)).status_code == 401
        assert (await http.post(path, json=body, headers=TOKEN)).status_code == 201
        listed = (await http.get(path, headers=TOKEN)).json()
        assert (listed["success"], listed["meta"]["total"]) == (True, 1)


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"HELIOGRAPH_SERVICE_TOKEN": ""}, "HELIOGRAPH_SERVICE_TOKEN"),
        ({"HELIOGRAPH_SERVICE_TOKEN": "changeme-changeme"}, "HELIOGRAPH_SERVICE_TOKEN"),
        ({"HELIOGRAPH_SECRET": "default-secret-for-development-0123456789"}, "HELIOGRAPH_SECRET"),
        ({"HELIOGRAPH_API_KEY": "hg_dev_9f3c1b7de24a60588c1d4e7fa3b2d9e1"}, "HELIOGRAPH_API_KEY"),
        ({"HELIOGRAPH_JWT_SECRET": "secret" * 8}, "HELIOGRAPH_JWT_SECRET"),
        ({"HELIOGRAPH_RATE_LIMIT": "lots"}, "HELIOGRAPH_RATE_LIMIT"),
        ({"HELIOGRAPH_ADVERTISE_URL": "gateway:8000"}, "HELIOGRAPH_ADVERTISE_URL"),
    ],
)
async def test_a_gateway_does_not_start_with_what_anybody_could_guess(
    env: dict[str, str], named: str, tmp_path: Path
) -> None:
    given = {**GIVEN, "HELIOGRAPH_BROKER_URL": "amqp://127.0.0.1:1", "HELIOGRAPH_FEED_URL": "redis://127.0.0.1:1"}
    given |= {"HELIOGRAPH_USERS_URL": "http://127.0.0.1:1", "HELIOGRAPH_TEMPLATES_URL": "http://127.0.0.1:1"}
    cluster = Cluster(tmp_path, {**given, "HELIOGRAPH_VAR_DIR": str(tmp_path), **env})
    process = cluster.add_role("gateway", "serve", "gateway")
    try:
        assert await asyncio.to_thread(process.wait) == 2
    finally:
        cluster.stop()
    (line,) = [line for line in process.log_text().splitlines() if line.startswith("heliograph: ")]
    assert named in line
    assert "Traceback" not in process.log_text()


class TestDiscovery:
    async def test_another_instance_answers_when_one_is_killed(
        self, cluster: Cluster, postgres_database: Callable[[], str], rabbitmq_vhost: Callable[[], str], redis_url: str
    ) -> None:
        shared = {
            "HELIOGRAPH_DISCOVERY_URL": redis_url,
            "HELIOGRAPH_FEED_URL": redis_url,
            "HELIOGRAPH_CACHE_URL": redis_url,
        }
        users = {**shared, "HELIOGRAPH_USERS_DATABASE_URL": postgres_database()}
        for name in ("users-1", "users-2"):
            advertised(cluster, name, "users", users)
        advertised(
            cluster, "templates", "templates", {**shared, "HELIOGRAPH_TEMPLATES_DATABASE_URL": postgres_database()}
        )
        own: dict[str, Any] = {
            "HELIOGRAPH_GATEWAY_DATABASE_URL": postgres_database(),
            "HELIOGRAPH_BROKER_URL": rabbitmq_vhost(),
            "HELIOGRAPH_API_KEY": API_KEY,
        }
        gateway = cluster.add_role("gateway", "serve", "gateway", port=free_port(), **shared, **own)
        for process in cluster.processes.values():
            await asyncio.to_thread(process.wait_ready)
        async with Api(gateway.port, API_KEY) as api:
            await found(api)
            cluster.processes["users-1"].kill()
            await found(api)  # it may have heard of this one only
            for _ in range(6):
                await person(api)
            cluster.processes["users-2"].kill()
            refused = await api.payload(CREATE_USER.replace("message", "error { code }"), input={})
            assert refused["error"]["code"] == "UPSTREAM_UNAVAILABLE"
            advertised(cluster, "users-3", "users", users)
            await asyncio.to_thread(cluster.processes["users-3"].wait_ready)
            await found(api)


def advertised(cluster: Cluster, name: str, service: str, env: dict[str, Any]) -> None:
    """Start an instance that says where it is."""
    port = free_port()
    cluster.add_role(name, "serve", service, port=port, HELIOGRAPH_ADVERTISE_URL=f"http://127.0.0.1:{port}", **env)


async def found(api: Api) -> None:
    """Wait until the gateway reaches the User Service."""
    async with asyncio.timeout(30):
        while not (await api.payload(CREATE_USER, input={}))["success"]:  # noqa: ASYNC110 - it is elsewhere
            await asyncio.sleep(0.1)
