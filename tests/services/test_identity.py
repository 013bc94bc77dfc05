"""Who may come in and for how long: over HTTP, over sockets, and the whole life of an API key over GraphQL."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping

import pytest
from websockets.exceptions import ConnectionClosedError

from api.database import Databases
from api.security import ALL_SCOPES, Principal, Scope
from domain.errors import Unauthenticated
from tests.services.identity_world import KeySchema, World, token_of
from tests.services.socket_client import FEED, Socket, opened, until

OPERATOR = Principal(
    client="ops", key_id="key_ops", name="ops", scopes=frozenset({Scope.OPERATIONS, Scope.NOTIFICATIONS_READ})
)
CREATE = """mutation ($input: CreateApiKeyInput!) { create_api_key(input: $input) {
  success message error { __typename code ... on ValidationError { fields { path code } } }
  data { secret key { id name client scopes created_at last_used_at revoked_at } } } }"""
LIST = """query ($page: Int! = 1, $limit: Int! = 20) { api_keys(page: $page, limit: $limit) {
  success error { code } meta { total total_pages has_next } data { id name revoked_at } } }"""
REVOKE = """mutation ($id: ID!) { revoke_api_key(id: $id) {
  success message error { __typename ... on NotFoundError { id } } data { id } } }"""


@pytest.fixture
async def world(databases: Databases) -> AsyncIterator[World]:
    """A gateway without a limit."""
    async with World(databases).opened() as world:
        yield world


@pytest.fixture
def schema(databases: Databases) -> KeySchema:
    """What is asked about keys."""
    return KeySchema(World(databases).keys)


async def secret_of_new_key(world: World, *scopes: Scope) -> tuple[str, str]:
    """A key that may read notifications, or do this: its id and its secret."""
    made = await world.keys.create("test", scopes or [Scope.NOTIFICATIONS_READ])
    return made.id, made.secret


# -------------------------------------------------------------------------------------------------- keys by GraphQL


async def test_the_whole_life_of_a_key(world: World) -> None:
    schema = KeySchema(world.keys)
    given = {"name": "shop", "scopes": ["notifications:read"], "client": "shop"}
    made = (await schema.execute(OPERATOR, CREATE, {"input": given}))["create_api_key"]
    assert (made["success"], made["error"]) == (True, None)
    key, secret = made["data"]["key"], made["data"]["secret"]
    assert (key["name"], key["client"], key["scopes"], key["revoked_at"]) == (
        "shop",
        "shop",
        ["notifications:read"],
        None,
    )
    assert (await world.post({"X-API-Key": secret})).status_code == 200
    listed = (await schema.execute(OPERATOR, LIST))["api_keys"]
    assert listed["data"] == [{"id": key["id"], "name": "shop", "revoked_at": None}]
    assert secret not in str(listed)
    for _ in range(2):
        gone = (await schema.execute(OPERATOR, REVOKE, {"id": key["id"]}))["revoke_api_key"]
        assert (gone["success"], gone["message"], gone["data"]) == (True, "Revoked.", {"id": key["id"]})
    refused = await world.post({"X-API-Key": secret})
    assert refused.status_code == 401
    assert refused.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_key_without_a_client_named_is_a_client_of_its_own(schema: KeySchema) -> None:
    for given in ({}, {"client": None}):
        input = {"name": "shop", "scopes": ["notifications:read"], **given}
        key = (await schema.execute(OPERATOR, CREATE, {"input": input}))["create_api_key"]["data"]["key"]
        assert key["client"] == key["id"]


async def test_nobody_grants_what_they_do_not_hold(schema: KeySchema) -> None:
    given = {"name": "", "scopes": ["operations", "users:write", "all"]}
    answer = (await schema.execute(OPERATOR, CREATE, {"input": given}))["create_api_key"]
    assert (answer["success"], answer["data"], answer["error"]["code"]) == (False, None, "VALIDATION_FAILED")
    assert answer["error"]["fields"] == [
        {"path": ["name"], "code": "empty"},
        {"path": ["scopes", "1"], "code": "not_held"},
        {"path": ["scopes", "2"], "code": "unknown"},
    ]
    assert (await schema.execute(OPERATOR, LIST))["api_keys"]["data"] == []


@pytest.mark.parametrize("id", ["key_0", "ntf_1", "", "\0"])
async def test_a_key_that_is_not_there_cannot_be_revoked(schema: KeySchema, id: str) -> None:
    answer = (await schema.execute(OPERATOR, REVOKE, {"id": id}))["revoke_api_key"]
    assert (answer["success"], answer["error"]) == (False, {"__typename": "NotFoundError", "id": id})


async def test_keys_come_in_pages(schema: KeySchema) -> None:
    for number in range(3):
        await schema.execute(OPERATOR, CREATE, {"input": {"name": f"{number}", "scopes": ["operations"]}})
    answer = (await schema.execute(OPERATOR, LIST, {"limit": 2}))["api_keys"]
    assert [key["name"] for key in answer["data"]] == ["2", "1"]
    assert answer["meta"] == {"total": 3, "total_pages": 2, "has_next": True}
    assert not (await schema.execute(OPERATOR, LIST, {"limit": 101}))["api_keys"]["success"]


async def test_keys_are_for_operators(schema: KeySchema) -> None:
    reader = Principal(client="c", key_id="k", name="n", scopes=ALL_SCOPES - {Scope.OPERATIONS})
    given = {"name": "shop", "scopes": ["notifications:read"]}
    assert (await schema.execute(reader, LIST))["api_keys"]["error"]["code"] == "FORBIDDEN"
    assert (await schema.execute(reader, CREATE, {"input": given}))["create_api_key"]["error"]["code"] == "FORBIDDEN"
    assert not (await schema.execute(reader, REVOKE, {"id": "key_0"}))["revoke_api_key"]["success"]


# -------------------------------------------------------------------------------------------------- keys and tokens


async def test_keys_and_tokens_open_the_same_doors(world: World) -> None:
    _, secret = await secret_of_new_key(world)
    for credential in (secret, token_of("ada")):
        assert (await world.post({"Authorization": f"Bearer {credential}"})).status_code == 200
        async with opened(world.url) as socket:
            await socket.greet(credential)


async def test_an_expired_token_is_refused_with_the_reason(world: World) -> None:
    expired = token_of("ada", -60)
    answer = await world.post({"Authorization": f"Bearer {expired}"})
    assert (answer.status_code, answer.json()["errors"][0]["message"]) == (
        401,
        "This token has expired: get a new one.",
    )
    async with opened(world.url) as socket:
        await socket.say(type="connection_init", payload={"Authorization": f"Bearer {expired}"})
        assert await socket.closed() == 4403


# ------------------------------------------------------------------------------------------------- sockets that end


class Passing:
    """Lets everybody in for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def authenticate_headers(self, headers: Mapping[str, str]) -> Principal:
        """As `Credentials`, with a credential for each caller; nobody without one."""
        if "authorization" not in headers:
            raise Unauthenticated("Who is there?")
        return Principal(
            client="c",
            key_id=headers["authorization"],
            name="n",
            scopes=ALL_SCOPES,
            expires_at=time.time() + self._seconds,
        )


async def test_a_socket_ends_with_its_credential_in_the_middle_of_a_subscription(databases: Databases) -> None:
    world = World(databases)
    world.credentials = Passing(0.2)
    async with world.opened(), opened(world.url) as socket:
        await socket.greet()
        await socket.subscribe(FEED)
        await until(lambda: world.feed.live_subscriptions == 1)
        assert await socket.closed() == 4403
        assert socket.connection.close_reason == "The credential has expired"
        await until(lambda: world.feed.live_subscriptions == len(world.sockets) == 0)


async def test_a_socket_that_leaves_before_it_expires_leaves_no_timer(databases: Databases) -> None:
    world = World(databases)
    world.credentials = Passing(3600)
    async with world.opened():
        async with opened(world.url) as socket:
            await socket.greet()
            assert (len(world.sockets), len(world.sockets._timers)) == (1, 1)
        await until(lambda: len(world.sockets) == len(world.sockets._timers) == 0)


async def test_a_revoked_key_closes_its_sockets_and_no_others(world: World) -> None:
    id, secret = await secret_of_new_key(world)
    _, other = await secret_of_new_key(world)
    before = len(asyncio.all_tasks())
    async with opened(world.url) as first, opened(world.url) as second, opened(world.url) as third:
        for socket, credential in ((first, secret), (second, secret), (third, other)):
            await socket.greet(credential)
            await socket.subscribe(FEED)
        await until(lambda: world.feed.live_subscriptions == 3)
        await world.keys.revoke(id)
        assert [await socket.closed() for socket in (first, second)] == [4403, 4403]
        assert first.connection.close_reason == "The API key was revoked"
        await until(lambda: world.feed.live_subscriptions == len(world.sockets) == 1)
        await third.say(type="ping")
        assert await third.hear() == {"type": "pong"}
    await until(lambda: len(asyncio.all_tasks()) <= before)


async def test_a_key_that_is_revoked_while_its_socket_opens_does_not_slip_in(world: World) -> None:
    id, secret = await secret_of_new_key(world)
    await world.keys.authenticate(secret)
    world.sockets.revoke([id])  # heard of after the key was looked up
    async with opened(world.url) as socket:
        await socket.say(type="connection_init", payload={"api_key": secret})
        assert await socket.closed() == 4403
    assert len(world.sockets) == 0


async def test_a_socket_that_is_shut_out_is_not_listened_to_any_more(databases: Databases) -> None:
    world = World(databases)
    world.credentials = Passing(3600)
    async with world.opened(), opened(world.url) as socket:
        await socket.greet("a")
        (handler,) = (handler for handlers in world.sockets._open.values() for handler in handlers)
        handler._shut_out = True  # type: ignore[attr-defined]  # its close is under way
        await socket.say(type="ping")
        await socket.connection.send("{")  # read after the ping, and the end of the socket
        with pytest.raises(ConnectionClosedError, match="4400"):
            await socket.hear()


async def test_known_revocations_are_bounded(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setattr("api.gateway.sockets.MAX_REVOKED", 3)
    world.sockets.revoke([f"key_{number}" for number in range(10)])
    assert list(world.sockets._revoked) == ["key_7", "key_8", "key_9"]


# ------------------------------------------------------------------------------------------------------- rate limits


async def test_one_subscription_too_many_is_an_error_and_the_socket_stays(databases: Databases) -> None:
    world = World(databases, rate="2/minute")
    async with world.opened(), opened(world.url) as socket:
        _, secret = await secret_of_new_key(world)
        await socket.greet(secret)
        for operation in ("1", "2", "3"):
            await socket.subscribe(FEED, operation)
        message = await socket.hear()
        assert (message["type"], message["id"]) == ("error", "3")
        extensions = message["payload"][0]["extensions"]
        assert (extensions["code"], 1 <= extensions["retry_after_seconds"] <= 60) == ("RATE_LIMITED", True)
        assert world.feed.live_subscriptions == 2
        await socket.say(type="ping")
        assert await socket.hear() == {"type": "pong"}


async def test_each_principal_is_limited_by_itself(databases: Databases) -> None:
    world = World(databases, rate="1/minute")
    async with world.opened():
        for user in ("ada", "bob"):
            async with opened(world.url) as socket:
                await socket.greet(token_of(user))
                assert [await _begins(world, socket, n) for n in ("1", "2")] == [True, False]
            await until(lambda: world.feed.live_subscriptions == 0)


async def _begins(world: World, socket: Socket, operation: str) -> bool:
    """Whether the subscription begins; the other answer is an `error`."""
    before = world.feed.live_subscriptions
    await socket.subscribe(FEED, operation)
    hearing = asyncio.create_task(socket.hear())
    await until(lambda: hearing.done() or world.feed.live_subscriptions > before)
    if not hearing.done():
        hearing.cancel()
        return True
    return bool((await hearing)["type"] != "error")
