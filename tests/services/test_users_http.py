"""The User Service on the wire: envelope, tokens, retries, health, its document."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.database import Databases
from api.users.app import users_app
from api.users.client import UsersClient
from api.users.repository import UserRepository
from domain.errors import UpstreamUnavailable
from domain.telemetry import correlation_id
from tests.services.rest_clients import Wire, raw

TOKEN = "service-token"
ENVELOPE = {"success", "data", "error", "message", "meta"}


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    databases = await Databases.open({"users": f"sqlite://{tmp_path}/users.db"})
    await databases.migrate()
    yield Wire(users_app(UserRepository(databases["users"]), service_token=TOKEN))
    await databases.close()


@pytest.fixture
async def users(wire: Wire) -> AsyncIterator[UsersClient]:
    async with wire.client() as http:
        yield UsersClient(http, service_token=TOKEN)


async def test_reading_is_tried_twice_and_writing_is_not(wire: Wire, users: UsersClient) -> None:
    ann = await users.create()
    wire.failures = [503]
    assert (await users.get(ann.id)).id == ann.id
    wire.failures, wire.calls = [503], []
    with pytest.raises(UpstreamUnavailable):
        await users.create()
    assert len(wire.calls) == 1


async def test_the_correlation_id_travels(wire: Wire, users: UsersClient) -> None:
    token = correlation_id.set("cor-17")
    await users.create()
    correlation_id.reset(token)
    assert wire.headers[-1]["x-correlation-id"] == "cor-17"


async def test_a_wrong_service_token_is_the_operators_problem(wire: Wire) -> None:
    async with wire.client() as http:
        with pytest.raises(UpstreamUnavailable, match="refused"):
            await UsersClient(http, service_token="wrong").create()


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/openapi.json"])
async def test_some_paths_are_open(wire: Wire, path: str) -> None:
    assert (await raw(wire, "GET", path))[0] == 200


@pytest.mark.parametrize("path", ["/v1/users", "/v1/users/usr_1", "/healthy", "/anything"])
async def test_all_others_want_the_token(wire: Wire, path: str) -> None:
    status, body = await raw(wire, "GET", path)
    assert status == 401
    assert set(body) == ENVELOPE
    assert body["error"]["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/users", '"x"', 422, "VALIDATION_FAILED"),
        ("POST", "/v1/users", "null", 422, "VALIDATION_FAILED"),
        ("POST", "/v1/users", "{", 422, "VALIDATION_FAILED"),
        ("POST", "/v1/users", b"\xff", 400, "BAD_REQUEST"),
        ("POST", "/v1/users", '{"name": "\\ud800"}', 422, "VALIDATION_FAILED"),
        ("POST", "/v1/users", '{"surname": "x"}', 422, "VALIDATION_FAILED"),
        ("POST", "/v1/users/lookup", '{"ids": []}', 422, "VALIDATION_FAILED"),
        ("POST", "/v1/users/lookup", '{"ids": [' + '"x",' * 1000 + '"x"]}', 422, "VALIDATION_FAILED"),
        ("GET", "/v1/users?limit=101", None, 422, "VALIDATION_FAILED"),
        ("GET", "/v1/users?page=0", None, 422, "VALIDATION_FAILED"),
        ("GET", "/v1/users/usr_none", None, 404, "NOT_FOUND"),
        ("GET", "/v2/users", None, 404, "NOT_FOUND"),
        ("PUT", "/v1/users", None, 405, "METHOD_NOT_ALLOWED"),
    ],
)
async def test_failures_have_the_envelope(
    wire: Wire, method: str, path: str, body: str | bytes | None, status: int, code: str
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    answered, found = await raw(wire, method, path, body, **headers)
    assert answered == status
    assert set(found) == ENVELOPE
    assert (found["success"], found["data"], found["error"]["code"]) == (False, None, code)
    assert found["message"] == found["error"]["message"]


async def test_every_answer_carries_a_correlation_id(wire: Wire) -> None:
    async with wire.client() as http:
        given = await http.get("/v1/users", headers={"X-Correlation-ID": "abc-1"})
        made = await http.get("/v1/users", headers={"X-Correlation-ID": "not sane\t"})
    assert given.headers["x-correlation-id"] == "abc-1"
    assert made.headers["x-correlation-id"].startswith("cor_")


async def test_health_tells_about_the_database(wire: Wire) -> None:
    status, body = await raw(wire, "GET", "/health")
    assert (status, set(body), body["data"]["status"]) == (200, ENVELOPE, "ok")
    assert body["data"]["dependencies"]["database"]["latency_ms"] >= 0


async def test_a_database_that_is_away_is_told_as_such(database_url: str) -> None:
    databases = await Databases.open({"users": database_url})
    wire = Wire(users_app(UserRepository(databases["users"]), service_token=None))
    await databases.close()
    assert (await raw(wire, "GET", "/health"))[0] == 503
    assert (await raw(wire, "GET", "/health/ready"))[0] == 503
    assert (await raw(wire, "GET", "/health/live"))[0] == 200
    status, body = await raw(wire, "GET", "/v1/users")
    assert (status, body["error"]["code"]) == (503, "UPSTREAM_UNAVAILABLE")


async def test_the_document_describes_every_answer(wire: Wire) -> None:
    _, document = await raw(wire, "GET", "/openapi.json")
    schemas = document["components"]["schemas"]
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) == 19
    for operation in operations:
        assert operation["summary"]
        assert operation["description"]
        for response in operation["responses"].values():
            name = response["content"]["application/json"]["schema"]["$ref"].removeprefix("#/components/schemas/")
            assert set(schemas[name]["properties"]) == ENVELOPE
    for reference in _references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in _references(value)]
    if isinstance(node, list):
        return [found for value in node for found in _references(value)]
    return []
