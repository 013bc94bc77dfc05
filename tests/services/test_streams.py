"""Many subscriptions of one shape: what an event comes to is worked out once, and nobody gets another one's answer."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import graphql
import pytest
from starlette.routing import WebSocketRoute

from api.gateway import subscription
from api.gateway.graphql_view import GraphQLView
from api.gateway.subscribers import Subscribers
from api.server import Server
from domain.notification import Status
from tests.services.gateway_fakes import KEY, READER, Gateway
from tests.services.socket_client import Socket, opened, until

FEED = "subscription { status_feed { sequence status cursor } }"
TWICE = "subscription Again($after: String) { status_feed(after: $after) { sequence status cursor } }"
RENAMED = "subscription { feed: status_feed { n: sequence status cursor } }"
NESTED = "subscription { status_feed { sequence notification { status } } }"


@pytest.fixture
def url(address: str) -> str:
    """Where the gateway is served, on a real port."""
    return f"ws://{address}/graphql"


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The events that were executed, each as often as it was."""
    seen: list[Any] = []
    real = graphql.execute_subscription_event

    def counted(executor: Any) -> Any:
        seen.append(executor.root_value.position)
        return real(executor)

    monkeypatch.setattr(subscription, "execute_subscription_event", counted)
    return seen


async def audience(stack: AsyncExitStack, gateway: Gateway, url: str, *documents: str, key: str = KEY) -> list[Socket]:
    """A socket for each document, all of them listening."""
    sockets = []
    for document in documents:
        socket = await stack.enter_async_context(opened(url))
        await socket.greet(key)
        await socket.subscribe(document)
        sockets.append(socket)
    await until(lambda: gateway.feed.live_subscriptions == len(documents))
    return sockets


async def heard(sockets: list[Socket]) -> list[Any]:
    return [(await socket.hear())["payload"] for socket in sockets]


async def sent(gateway: Gateway) -> str:
    return str((await gateway.send())["data"]["notifications"][0]["id"])


async def test_an_event_is_executed_once_for_all_that_select_the_same(
    gateway: Gateway, url: str, executed: list[Any]
) -> None:
    async with AsyncExitStack() as stack:
        sockets = await audience(stack, gateway, url, *[FEED] * 5, *[TWICE] * 5)
        id = await sent(gateway)
        gateway.store.change(id, Status.QUEUED)
        first, second = await heard(sockets), await heard(sockets)
    assert executed == [1, 2]
    assert [one["data"]["status_feed"]["status"] for one in first] == ["ACCEPTED"] * 10
    assert [one["data"]["status_feed"]["status"] for one in second] == ["QUEUED"] * 10


async def test_another_selection_is_another_answer(gateway: Gateway, url: str, executed: list[Any]) -> None:
    async with AsyncExitStack() as stack:
        sockets = await audience(stack, gateway, url, FEED, RENAMED)
        await sent(gateway)
        plain, renamed = await heard(sockets)
    assert executed == [1, 1]
    assert plain["data"]["status_feed"]["sequence"] == 1
    assert renamed["data"]["feed"]["n"] == 1


async def test_what_is_looked_up_is_looked_up_for_each(gateway: Gateway, url: str, executed: list[Any]) -> None:
    async with AsyncExitStack() as stack:
        sockets = await audience(stack, gateway, url, NESTED, NESTED)
        await sent(gateway)
        for answer in await heard(sockets):
            assert answer["data"]["status_feed"]["notification"] == {"status": "ACCEPTED"}
    assert executed == [1, 1]


async def test_a_shared_answer_is_no_way_around_rights(gateway: Gateway, url: str) -> None:
    gateway.keys.known["hg_nobody"] = type(gateway.keys.known[READER])(
        client="c", key_id="k", name="n", scopes=frozenset()
    )
    async with AsyncExitStack() as stack:
        await audience(stack, gateway, url, FEED)
        await sent(gateway)
        stranger = await stack.enter_async_context(opened(url))
        await stranger.greet("hg_nobody")
        await stranger.subscribe(FEED)
        message = await stranger.hear()
        assert message["payload"]["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        assert message["payload"]["data"] is None


async def test_what_is_remembered_is_bounded(gateway: Gateway, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "MAX_RENDITIONS", 3)
    (view,) = {route.endpoint for route in gateway.app.routes if isinstance(route, WebSocketRoute)}
    async with AsyncExitStack() as stack:
        (socket,) = await audience(stack, gateway, url, FEED)
        id = await sent(gateway)
        for _ in range(10):
            gateway.store.change(id, Status.QUEUED)
        events = [(await socket.hear())["payload"]["data"]["status_feed"]["sequence"] for _ in range(11)]
        assert events == list(range(1, 12))
    assert isinstance(view, GraphQLView)
    assert len(view._streams._renditions) == 3


async def test_a_socket_that_reads_nothing_does_not_hold_up_the_end(gateway: Gateway) -> None:
    server = Server(gateway.app, "127.0.0.1", 0, grace=30)
    await server.start()
    async with opened(f"ws://127.0.0.1:{server.port}/graphql") as socket:
        await socket.greet()
        await socket.subscribe("subscription { status_feed { reason } }")
        await until(lambda: gateway.feed.live_subscriptions == 1)
        socket.connection.transport.pause_reading()
        id = await sent(gateway)
        for _ in range(500):
            gateway.store.change(id, Status.QUEUED, "x" * 40_000)
        await until(lambda: gateway.feed.position == 501)
        async with asyncio.timeout(10):
            await server.stop()
        socket.connection.transport.abort()


async def test_one_subscription_too_many_never_begins_and_harms_no_other(gateway: Gateway, url: str) -> None:
    (view,) = {route.endpoint for route in gateway.app.routes if isinstance(route, WebSocketRoute)}
    assert isinstance(view, GraphQLView)
    view._streams._subscribers = Subscribers(per_key=2)
    async with AsyncExitStack() as stack:
        (first, second) = await audience(stack, gateway, url, FEED, FEED)
        await first.subscribe(FEED, "third")
        refused = await first.hear()
        assert (refused["id"], refused["type"]) == ("third", "error")
        assert refused["payload"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"
        other = await stack.enter_async_context(opened(url))
        await other.greet(READER)
        await other.subscribe(FEED)
        await until(lambda: gateway.feed.live_subscriptions == 3)
        await second.say(id="1", type="complete")
        await until(lambda: gateway.feed.live_subscriptions == 2)
        await first.subscribe(FEED, "third")
        await until(lambda: gateway.feed.live_subscriptions == 3)
