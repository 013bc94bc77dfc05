"""The system of `compose.yml` as processes: two of each service, the bounce listener too, and clients at the proxy."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from tests.deploy.files import DOCKER
from tests.e2e.api import WATCH, Api
from tests.e2e.conftest import Running, start_compose
from tests.servers.caddy import CaddyServer
from tests.servers.roles import API_KEY, free_port

CREATE_USER = "mutation ($input: CreateUserInput!) { create_user(input: $input) { success message } }"
SERVICES = ("users", "templates")
DEADLINE = 40.0
pytestmark = pytest.mark.timeout(300)  # a dozen processes start first


class Deployed(msgspec.Struct, frozen=True):
    """The system, the proxy before its gateway, and where the bounce listener takes mail."""

    running: Running
    proxy: CaddyServer
    bounce_port: int


@pytest.fixture(scope="module")
def deployed(
    postgres: Any, rabbitmq: Any, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployed]:
    """All of it, as `docker compose --profile bounces up --scale users=2 --scale templates=2` has it."""
    with ExitStack() as stack:
        running = start_compose(stack, postgres, rabbitmq, redis_server, tmp_path_factory.mktemp("deployed"))
        for service in SERVICES:
            _start_another(running, service)
        bounce_port = free_port()
        _start_another(
            running,
            "bounces",
            HELIOGRAPH_BOUNCE_ADDRESS="bounces@example.com",
            HELIOGRAPH_BOUNCE_LISTEN=f"127.0.0.1:{bounce_port}",
        )
        proxy = stack.enter_context(CaddyServer(DOCKER / "Caddyfile", running.port))
        yield Deployed(running, proxy, bounce_port)


def _start_another(running: Running, role: str, **env: str) -> None:
    """One more instance of a role, as `--scale` would start it."""
    assert running.compose is not None
    port = free_port()
    own = {
        **running.compose.environment(role),
        "HELIOGRAPH_ADVERTISE_URL": f"http://127.0.0.1:{port}",
        **env,
    }
    running.cluster.add_role(f"{role}-2", *running.compose.command(role), port=port, **own).wait_ready()


@pytest.fixture
async def api(deployed: Deployed) -> AsyncIterator[Api]:
    """A client that knows the proxy only."""
    async with Api(deployed.proxy.port, API_KEY) as client:
        yield client


async def create_user(api: Api) -> str:
    id = f"usr_{uuid4().hex}"
    payload = await api.payload(CREATE_USER, input={"id": id, "email": f"{id}@example.com"})
    assert payload["success"], payload
    return id


async def test_a_notification_goes_through_and_is_watched_at_the_proxy(api: Api) -> None:
    id = await api.send_one()
    statuses = [event["status"] for event in await api.watch(WATCH, id=id)]
    assert statuses[0] == "ACCEPTED"
    assert statuses[-1] == "SENT"


async def test_an_event_leaves_the_proxy_when_it_comes(api: Api) -> None:
    """The stream is still open, so what has come was not held back to the end."""
    id = await api.send_one(send_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    body = {"query": "subscription ($id: ID!) { notification_status(id: $id, follow: true) { status } }"}
    headers = {"Accept": "text/event-stream"}
    async with (
        asyncio.timeout(DEADLINE),
        api.http.stream("POST", "/graphql", json={**body, "variables": {"id": id}}, headers=headers) as answer,
    ):
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                break
        assert json.loads(line.removeprefix("data: "))["data"]["notification_status"]["status"] == "SCHEDULED"


async def test_whichever_instance_of_a_service_is_killed_the_other_one_answers(deployed: Deployed, api: Api) -> None:
    await create_user(api)
    deployed.running.cluster.processes["users"].kill()
    for _ in range(4):
        await create_user(api)
    deployed.running.start_again("users")
    await asyncio.to_thread(deployed.running.cluster.processes["users"].wait_ready)


async def test_the_proxy_finds_a_gateway_that_comes_back(deployed: Deployed, api: Api) -> None:
    assert (await api.http.get("/health/live")).status_code == 200
    deployed.running.cluster.processes["gateway"].kill()
    assert (await api.http.get("/health/live")).status_code == 502
    deployed.running.start_again("gateway")
    async with asyncio.timeout(DEADLINE):
        while (await api.http.get("/health/live")).status_code != 200:  # noqa: ASYNC110 - it is elsewhere
            await asyncio.sleep(0.1)
    await asyncio.to_thread(deployed.running.cluster.processes["gateway"].wait_ready)


async def test_every_role_says_how_it_does(deployed: Deployed) -> None:
    async with httpx.AsyncClient(timeout=DEADLINE) as http:
        for process in deployed.running.cluster.processes.values():
            if process.name == "migrate":
                assert await asyncio.to_thread(process.wait) == 0
                continue
            for path in ("/health", "/health/live", "/health/ready", "/metrics"):
                answer = await http.get(f"http://127.0.0.1:{process.port}{path}")
                assert answer.status_code == 200, (process.name, path, answer.text)


def test_the_bounce_listener_takes_mail(deployed: Deployed) -> None:
    with socket.create_connection(("127.0.0.1", deployed.bounce_port), timeout=DEADLINE) as connection:
        assert connection.recv(200).startswith(b"220 ")
