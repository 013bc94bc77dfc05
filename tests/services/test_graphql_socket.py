"""GraphQL over a real WebSocket, spoken word for word: `graphql-transport-ws`."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from api.gateway import cursor, graphql_view
from api.server import Server
from domain.notification import Status
from tests.services.gateway_fakes import KEY, READER, Gateway, running_gateway
from tests.services.socket_client import FEED, Socket, opened, until

WATCH = """subscription ($id: ID!, $after: String, $follow: Boolean! = false) {
  notification_status(id: $id, after: $after, follow: $follow) {
    sequence status previous_status cursor notification { status } } }"""


@pytest.fixture
def url(address: str) -> str:
    """Where the gateway is served, on a real port."""
    return f"ws://{address}/graphql"


async def sent_notification(gateway: Gateway, **changes: Any) -> str:
    """A notification that was just accepted."""
    payload = await gateway.send(**changes)
    id: str = payload["data"]["notifications"][0]["id"]
    return id


# ---------------------------------------------------------------------------------------------------- subscriptions


async def test_a_notification_is_watched_from_its_first_status_to_its_final_one(gateway: Gateway, url: str) -> None:
    id = await sent_notification(gateway)
    async with opened(url) as socket:
        await socket.greet()
        await socket.subscribe(WATCH, id=id)
        first = await socket.hear()
        assert first["payload"]["data"]["notification_status"]["sequence"] == 1
        for status in (Status.QUEUED, Status.SENDING, Status.SENT):
            gateway.store.change(id, status)
        events = [(await socket.hear())["payload"]["data"]["notification_status"] for _ in range(3)]
        assert await socket.hear() == {"id": "1", "type": "complete"}
    assert [(event["sequence"], event["status"]) for event in events] == [(2, "QUEUED"), (3, "SENDING"), (4, "SENT")]
    assert [event["previous_status"] for event in events] == ["ACCEPTED", "QUEUED", "SENDING"]


async def test_each_event_sees_the_notification_as_it_is_by_then(gateway: Gateway, url: str) -> None:
    id = await sent_notification(gateway)
    async with opened(url) as socket:
        await socket.greet()
        await socket.subscribe(WATCH, id=id)
        await socket.hear()
        gateway.store.change(id, Status.SENT)
        event = (await socket.hear())["payload"]["data"]["notification_status"]
    assert event["notification"] == {"status": "SENT"}


async def test_a_cursor_goes_on_without_a_hole(gateway: Gateway, url: str) -> None:
    id = await sent_notification(gateway)
    rows = [gateway.store.change(id, status) for status in (Status.QUEUED, Status.SENDING, Status.SENT)]
    async with opened(url) as socket:
        await socket.greet()
        await socket.subscribe(WATCH, id=id, after=cursor.encode(rows[0].position))
        events = [(await socket.hear())["payload"]["data"]["notification_status"] for _ in range(2)]
        assert (await socket.hear())["type"] == "complete"
    assert [event["sequence"] for event in events] == [3, 4]


async def test_the_feed_begins_live_and_filters(gateway: Gateway, url: str) -> None:
    first = await sent_notification(gateway)
    query = "subscription { status_feed(filter: {status: [SENT]}) { notification_id status } }"
    async with opened(url) as socket:
        await socket.greet(READER)
        await socket.subscribe(query)
        await until(lambda: gateway.feed.live_subscriptions == 1)
        gateway.store.change(first, Status.QUEUED)
        gateway.store.change(first, Status.SENT)
        event = (await socket.hear())["payload"]["data"]["status_feed"]
    assert event == {"notification_id": first, "status": "SENT"}


async def test_a_request_is_watched_until_all_of_it_is_final(gateway: Gateway, url: str) -> None:
    id = await sent_notification(gateway, request_id="order-1")
    async with opened(url) as socket:
        await socket.greet()
        await socket.subscribe('subscription { request_status(request_id: "order-1") { status } }', "status")
        await socket.subscribe(
            'subscription { request_progress(request_id: "order-1") { percent finished counts { status count } } }',
            "progress",
        )
        heard = [await socket.hear() for _ in range(2)]
        assert {message["id"] for message in heard} == {"status", "progress"}
        gateway.store.change(id, Status.SENT)
        rest = [await socket.hear() for _ in range(4)]
    assert [message["type"] for message in rest if message["id"] == "status"] == ["next", "complete"]
    progress = [message for message in rest if message["id"] == "progress"]
    assert [message["type"] for message in progress] == ["next", "complete"]
    assert progress[0]["payload"]["data"]["request_progress"] == {
        "percent": 100.0,
        "finished": True,
        "counts": [{"status": "SENT", "count": 1}],
    }


@pytest.mark.parametrize(
    ("query", "key", "code"),
    [
        ('subscription { notification_status(id: "ntf_x") { status } }', KEY, "NOT_FOUND"),
        ('subscription { request_status(request_id: "none") { status } }', KEY, "NOT_FOUND"),
        ('subscription { request_progress(request_id: "none") { percent } }', KEY, "NOT_FOUND"),
        (f'subscription {{ status_feed(after: "{cursor.encode(99)}") {{ status }} }}', KEY, "CURSOR_EXPIRED"),
        ('subscription { status_feed(after: "nonsense") { status } }', KEY, "VALIDATION_FAILED"),
        ("subscription { status_feed { status } }", "hg_nobody", "FORBIDDEN"),
    ],
)
async def test_failures_are_top_level_and_then_it_completes(
    gateway: Gateway, url: str, query: str, key: str, code: str
) -> None:
    known = gateway.keys.known[KEY]
    gateway.keys.known["hg_nobody"] = type(known)(client="c", key_id="k", name="n", scopes=frozenset())
    async with opened(url) as socket:
        await socket.greet(key)
        await socket.subscribe(query)
        message = await socket.hear()
        assert message["type"] == "next"
        assert message["payload"]["errors"][0]["extensions"]["code"] == code
        assert await socket.hear() == {"id": "1", "type": "complete"}


async def test_queries_and_mutations_go_over_the_socket_too(gateway: Gateway, url: str) -> None:
    async with opened(url) as socket:
        await socket.greet()
        await socket.subscribe("{ __typename }")
        assert (await socket.hear())["payload"]["data"] == {"__typename": "Query"}
        assert (await socket.hear())["type"] == "complete"


# ------------------------------------------------------------------------------------------------- leaving and limits


async def test_complete_ends_the_subscription_and_leaves_its_siblings(gateway: Gateway, url: str) -> None:
    id = await sent_notification(gateway)
    async with opened(url) as socket:
        await socket.greet()
        await socket.subscribe(FEED, "a")
        await socket.subscribe(FEED, "b")
        await until(lambda: gateway.feed.live_subscriptions == 2)
        await socket.say(id="a", type="complete")
        await until(lambda: gateway.feed.live_subscriptions == 1)
        gateway.store.change(id, Status.QUEUED)
        assert (await socket.hear())["id"] == "b"


async def test_a_client_that_vanishes_leaves_nothing_behind(gateway: Gateway, url: str) -> None:
    await sent_notification(gateway, request_id="order-1")
    before = len(asyncio.all_tasks())
    async with opened(url) as socket:
        await socket.greet()
        await socket.subscribe(FEED, "a")
        await socket.subscribe('subscription { request_progress(request_id: "order-1") { percent } }', "b")
        await socket.hear()
        await until(lambda: gateway.feed.live_subscriptions == 2)
        socket.connection.transport.abort()
    await until(lambda: gateway.feed.live_subscriptions == 0)
    await until(lambda: len(asyncio.all_tasks()) <= before)


@pytest.mark.parametrize(
    "query",
    [
        "{",
        "subscription { nothing }",
        "subscription { status_feed(after: 5) { status } }",
        "#" + "x" * 60_000,
        "{" + " a" * 3000,
    ],
)
async def test_a_bad_document_harms_only_its_own_operation(gateway: Gateway, url: str, query: str) -> None:
    id = await sent_notification(gateway)
    async with opened(url) as socket:
        await socket.greet()
        await socket.subscribe(FEED, "good")
        await until(lambda: gateway.feed.live_subscriptions == 1)
        await socket.subscribe(query, "bad")
        message = await socket.hear()
        assert (message["id"], message["type"]) == ("bad", "error")
        assert message["payload"][0]["extensions"]["code"]
        gateway.store.change(id, Status.QUEUED)
        assert (await socket.hear())["id"] == "good"


async def test_a_bug_is_masked_on_the_socket(gateway: Gateway, url: str) -> None:
    gateway.store.failing = RuntimeError("secret of the database")
    async with opened(url) as socket:
        await socket.greet()
        await socket.subscribe('subscription { request_progress(request_id: "x") { percent } }')
        error = (await socket.hear())["payload"]["errors"][0]
    assert (error["message"], error["extensions"]["code"]) == ("Internal error", "INTERNAL_SERVER_ERROR")


# ----------------------------------------------------------------------------------------------------- the handshake


@pytest.mark.parametrize(
    "payload", [{"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}, {"api_key": KEY}]
)
async def test_the_payload_says_who_calls(url: str, payload: dict[str, str]) -> None:
    async with opened(url) as socket:
        await socket.say(type="connection_init", payload=payload)
        assert await socket.hear() == {"type": "connection_ack"}


@pytest.mark.parametrize("message", [{"type": "connection_init"}, {"type": "connection_init", "payload": None}])
async def test_the_headers_of_the_handshake_do_as_well(url: str, message: dict[str, Any]) -> None:
    async with opened(url, additional_headers={"X-API-Key": KEY}) as socket:
        await socket.say(**message)
        assert await socket.hear() == {"type": "connection_ack"}


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([{"type": "connection_init"}], 4401),
        ([{"type": "connection_init", "payload": {"api_key": "hg_wrong"}}], 4403),
        ([{"type": "connection_init", "payload": "text"}], 4400),
        ([{"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }"}}], 4401),
        ([{"type": "connection_init", "payload": {"api_key": KEY}}] * 2, 4429),
        ([{"type": "nonsense"}], 4400),
        ([{"type": ["subscribe"]}], 4400),
        ([{"type": "subscribe"}], 4400),
        ([{"type": "subscribe", "id": "1", "payload": None}], 4400),
        ([{"type": "subscribe", "id": 5, "payload": {"query": "{ a }"}}], 4400),
        ([{"type": "subscribe", "id": "1", "payload": {"query": "{ a }", "variables": []}}], 4400),
        ([["a", "list"]], 4400),
        (["text"], 4400),
        ([None], 4400),
    ],
)
async def test_bad_messages_close_the_socket_with_their_code(url: str, messages: list[Any], code: int) -> None:
    async with opened(url) as socket:
        for message in messages:
            await socket.connection.send(json.dumps(message))
        assert await socket.closed() == code


@pytest.mark.parametrize("frame", ["{", "", b"\x00", "NaN"])
async def test_frames_that_are_no_json_close_the_socket(url: str, frame: str | bytes) -> None:
    async with opened(url) as socket:
        await socket.connection.send(frame)
        assert await socket.closed() == 4400


async def test_one_id_is_one_operation(gateway: Gateway, url: str) -> None:
    async with opened(url) as socket:
        await socket.greet()
        await socket.subscribe(FEED)
        await socket.subscribe(FEED)
        assert await socket.closed() == 4409


async def test_a_database_that_is_away_asks_to_come_again(gateway: Gateway, url: str) -> None:
    gateway.keys.away = True
    async with opened(url) as socket:
        await socket.say(type="connection_init", payload={"api_key": KEY})
        assert await socket.closed() == 1013


async def test_who_says_nothing_is_let_go(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    monkeypatch.setattr(graphql_view, "INIT_TIMEOUT", timedelta(milliseconds=50))
    async with running_gateway() as impatient:
        server = Server(impatient.app, "127.0.0.1", 0)
        await server.start()
        try:
            async with opened(f"ws://127.0.0.1:{server.port}/graphql") as socket:
                assert await socket.closed() == 4408
        finally:
            await server.stop()


async def test_the_legacy_protocol_is_off(url: str) -> None:
    legacy: Any = "graphql-ws"
    async with connect(url, subprotocols=[legacy]) as connection:
        assert await Socket(connection).closed() == 4406


async def test_pages_of_strangers_may_not_connect(url: str) -> None:
    with pytest.raises(InvalidStatus):
        async with opened(url, origin="https://evil.example"):
            pass


async def test_ping_is_answered(url: str) -> None:
    async with opened(url) as socket:
        await socket.greet()
        await socket.say(type="ping")
        assert await socket.hear() == {"type": "pong"}


@pytest.mark.parametrize("kind", ["x" * 19_000, "é\u2028😀" * 2_000, "\ud800"])
async def test_a_long_or_strange_type_closes_the_socket_with_a_reason_that_fits(url: str, kind: str) -> None:
    async with opened(url) as socket:
        await socket.say(type=kind)
        assert await socket.closed() == 4400


async def test_a_long_id_that_is_taken_closes_the_socket_with_a_reason_that_fits(url: str) -> None:
    async with opened(url) as socket:
        await socket.greet()
        for _ in range(2):
            await socket.subscribe(FEED, "x" * 10_000)
        assert await socket.closed() == 4409
