"""Trusted documents: named by id over HTTP and sockets, and in strict mode nothing else."""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from api.cli import keys as cli_keys
from api.gateway.manifest import Manifest
from api.gateway.validation import Policy
from api.policy import OWN
from api.server import Server
from domain.errors import ConfigurationError
from tests.services.gateway_fakes import KEY, Gateway, running_gateway
from tests.services.socket_client import Socket, opened

NODE = "query Node($id: ID!) { node(id: $id) { id } }"
CHANGE = 'mutation { cancel_notification(id: "x") { success } }'
FEED = "subscription Feed { status_feed { status } }"
OTHER = "query Other($id: ID!) { node(id: $id) { id } }"
MANIFEST = Manifest("clients.json", {"node-1": NODE, "change-1": CHANGE, "feed-1": FEED})
NOBODY = {"id": "nobody"}
HEADERS = {"Authorization": f"Bearer {KEY}"}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def apollo(hash: str) -> dict[str, Any]:
    """What Apollo's clients and urql send."""
    return {"persistedQuery": {"version": 1, "sha256Hash": hash}}


@pytest.fixture(params=["open", "strict"])
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[Gateway]:
    """A gateway with a manifest; with and without strict mode."""
    async with running_gateway(policy=Policy(manifest=MANIFEST, trusted_only=request.param == "strict")) as running:
        yield running


@pytest.fixture
async def strict() -> AsyncIterator[Gateway]:
    """A gateway that takes nothing but its manifest."""
    async with running_gateway(policy=Policy(manifest=MANIFEST, trusted_only=True)) as running:
        yield running


@asynccontextmanager
async def socket_of(gateway: Gateway) -> AsyncIterator[Socket]:
    """A greeted socket of a real server."""
    server = Server(gateway.app, "127.0.0.1", 0)
    await server.start()
    try:
        async with opened(f"ws://127.0.0.1:{server.port}/graphql") as socket:
            await socket.greet()
            yield socket
    finally:
        await server.stop()


def code_of(answer: Any) -> str:
    """The code of the one error of a GraphQL answer without data."""
    assert "data" not in answer
    (error,) = answer["errors"]
    return str(error["extensions"]["code"])


WAYS: list[dict[str, Any]] = [
    {"documentId": "node-1"},
    {"documentId": f"sha256:{sha256(NODE)}"},
    {"documentId": sha256(NODE)},
    {"extensions": apollo(sha256(NODE))},
    {"query": NODE},
    {"query": NODE, "extensions": apollo(sha256(NODE))},
]


@pytest.mark.parametrize("way", WAYS)
async def test_a_trusted_document_is_named_by_id_or_hash_or_sent(gateway: Gateway, way: dict[str, Any]) -> None:
    body = {**way, "variables": NOBODY}
    posted = await gateway.http.post("/graphql", json=body, headers=HEADERS)
    params = {name: value if isinstance(value, str) else json.dumps(value) for name, value in body.items()}
    got = await gateway.http.get("/graphql", params=params, headers=HEADERS)
    assert posted.json() == got.json() == {"data": {"node": None}}


@pytest.mark.parametrize("way", WAYS)
async def test_over_a_socket_too(gateway: Gateway, way: dict[str, Any]) -> None:
    async with socket_of(gateway) as socket:
        await socket.say(id="1", type="subscribe", payload={**way, "variables": NOBODY})
        assert await socket.hear() == {"id": "1", "type": "next", "payload": {"data": {"node": None}}}


async def test_a_subscription_is_named_by_its_id(gateway: Gateway) -> None:
    async with socket_of(gateway) as socket:
        await socket.say(id="1", type="subscribe", payload={"documentId": "feed-1"})
        await socket.say(type="ping")
        assert await socket.hear() == {"type": "pong"}


async def test_a_mutation_goes_by_post_however_it_is_named(gateway: Gateway) -> None:
    answer = await gateway.http.get("/graphql", params={"documentId": "change-1"}, headers=HEADERS)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("way", [{"documentId": "node-2"}, {"extensions": apollo(sha256(OTHER))}])
@pytest.mark.parametrize(("accept", "status"), [("application/json", 200), ("application/graphql-response+json", 400)])
async def test_an_unknown_id_is_said_as_clients_look_for_it(
    gateway: Gateway, way: dict[str, Any], accept: str, status: int
) -> None:
    answer = await gateway.http.post("/graphql", json=way, headers={**HEADERS, "Accept": accept})
    assert (answer.status_code, code_of(answer.json())) == (status, "PERSISTED_QUERY_NOT_FOUND")
    assert answer.json()["errors"][0]["message"] == "PersistedQueryNotFound"
    async with socket_of(gateway) as socket:
        await socket.say(id="1", type="subscribe", payload=way)
        heard = await socket.hear()
    assert (heard["type"], heard["payload"][0]["extensions"]["code"]) == ("error", "PERSISTED_QUERY_NOT_FOUND")


async def test_without_a_manifest_clients_are_told_to_stop_asking() -> None:
    async with running_gateway() as gateway:
        answer = await gateway.http.post("/graphql", json={"extensions": apollo(sha256(NODE))}, headers=HEADERS)
        assert code_of(answer.json()) == "PERSISTED_QUERY_NOT_SUPPORTED"


@pytest.mark.parametrize(
    "body",
    [
        {"documentId": 5},
        {"documentId": "x" * 1_000},
        {"extensions": 5},
        {"extensions": {"persistedQuery": {"version": 1}}},
        {"query": NODE, "extensions": apollo(sha256(OTHER))},
        {"documentId": ""},
        {"documentId": "node-1", "query": 5},
    ],
)
async def test_what_is_no_id_is_refused(gateway: Gateway, body: dict[str, Any]) -> None:
    answer = await gateway.http.post("/graphql", json=body, headers=HEADERS)
    assert (answer.status_code, code_of(answer.json())) == (400, "BAD_REQUEST")
    async with socket_of(gateway) as socket:
        await socket.say(id="1", type="subscribe", payload=body)
        assert await socket.closed() == 4400


@pytest.mark.parametrize("query", [OTHER, NODE + " ", "{ __typename }", "{ __schema { queryType { name } } }", "{"])
async def test_strict_mode_refuses_every_other_text(strict: Gateway, query: str) -> None:
    answer = await strict.post(query, NOBODY)
    assert (answer.status_code, code_of(answer.json())) == (200, "DOCUMENT_NOT_TRUSTED")
    async with socket_of(strict) as socket:
        await socket.subscribe(query)
        heard = await socket.hear()
    assert (heard["type"], heard["payload"][0]["extensions"]["code"]) == ("error", "DOCUMENT_NOT_TRUSTED")


async def test_strict_mode_takes_the_documents_of_the_command_line() -> None:
    policy = Policy(manifest=MANIFEST, trusted_only=True, own=OWN)
    async with running_gateway(policy=policy) as gateway:
        answer = await gateway.post(cli_keys.LIST, {"page": 1, "limit": 10})
    assert "errors" not in answer.json()


async def test_without_strict_mode_other_texts_run() -> None:
    async with running_gateway(policy=Policy(manifest=MANIFEST)) as gateway:
        assert await gateway.ask(OTHER, NOBODY) == {"node": None}


async def test_a_trusted_document_is_not_parsed_when_it_is_asked_for(
    strict: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("parsed again")

    monkeypatch.setattr("strawberry.schema.schema.parse", fail)
    monkeypatch.setattr("api.gateway.validation.validate", fail)
    assert await strict.ask(NODE, NOBODY) == {"node": None}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Syntax Error"),
        ("{ nothing }", "nothing"),
        ("{ ...F } fragment F on Query { ...F }", "F"),
        ("{" + " a: __typename" * 31 + " }", "aliases"),
        ("{" + " __typename" * 2_000 + " }", "tokens"),
    ],
)
async def test_a_manifest_with_a_document_that_could_not_run_stops_the_start(text: str, said: str) -> None:
    manifest = Manifest("clients.json", {"good": NODE, "bad": text})
    with pytest.raises(ConfigurationError) as caught:
        Gateway(policy=Policy(manifest=manifest))
    (line,) = caught.value.message.splitlines()
    assert "clients.json: document 'bad'" in line
    assert said in line
