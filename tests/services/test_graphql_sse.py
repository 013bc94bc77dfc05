"""GraphQL over server-sent events: what an operation looks like on a stream, who gets one, how it is resumed."""

from typing import Any

import httpx
import pytest

from api.gateway import cursor
from domain.notification import Status
from domain.ports import LogRow
from tests.services.event_client import EVENTS, Event, streaming
from tests.services.gateway_fakes import KEY, Gateway
from tests.services.socket_client import FEED, until

WATCH = """subscription ($id: ID!, $after: String) {
  notification_status(id: $id, after: $after) { sequence status notification { status } } }"""
URQL = (
    "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed"
)


@pytest.fixture
def url(address: str) -> str:
    """Where the gateway is served, on a real port."""
    return f"http://{address}/graphql"


async def sent_notification(gateway: Gateway) -> str:
    """A notification that was just accepted."""
    id: str = (await gateway.send())["data"]["notifications"][0]["id"]
    return id


async def finished_notification(gateway: Gateway) -> tuple[str, list[LogRow]]:
    """A notification with four statuses, and all but the first of them."""
    id = await sent_notification(gateway)
    return id, [gateway.store.change(id, status) for status in (Status.QUEUED, Status.SENDING, Status.SENT)]


# -------------------------------------------------------------------------------------------------- what is on a stream


async def test_a_notification_is_watched_from_its_first_status_to_its_final_one(gateway: Gateway, url: str) -> None:
    id = await sent_notification(gateway)
    async with streaming(url, WATCH, id=id) as stream:
        first = await stream.hear()
        assert first is not None
        for status in (Status.QUEUED, Status.SENDING, Status.SENT):
            gateway.store.change(id, status)
        events = [first.result, *await stream.hear_results()]
    statuses = [event["data"]["notification_status"]["status"] for event in events]
    assert statuses == ["ACCEPTED", "QUEUED", "SENDING", "SENT"]
    assert events[-1]["data"]["notification_status"]["notification"] == {"status": "SENT"}


async def test_nothing_between_keeps_or_holds_back_a_stream(gateway: Gateway, url: str) -> None:
    id, _ = await finished_notification(gateway)
    async with streaming(url, WATCH, id=id, headers={**EVENTS, "X-Correlation-ID": "trace-me"}) as stream:
        headers = stream.response.headers
        text = (await stream.response.aread()).decode()
    assert (stream.response.status_code, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert "no-store" in headers["cache-control"]
    assert (headers["x-accel-buffering"], headers["x-correlation-id"]) == ("no", "trace-me")
    assert "\r" not in text
    assert text.endswith("\n\nevent: complete\ndata:\n\n")


async def test_each_event_has_its_cursor_whatever_was_selected(gateway: Gateway, url: str) -> None:
    id, rows = await finished_notification(gateway)
    async with streaming(url, WATCH, id=id) as stream:
        ids = [event.id for _ in range(4) if (event := await stream.hear())]
    assert ids[1:] == [cursor.encode(row.position) for row in rows]


async def test_what_is_not_in_the_log_has_no_cursor(gateway: Gateway, url: str) -> None:
    await gateway.send(request_id="order-1")
    query = 'subscription { request_progress(request_id: "order-1") { percent } }'
    async with streaming(url, query) as stream:
        assert await stream.hear() == Event(
            (("event", "next"), ("data", '{"data":{"request_progress":{"percent":0.0}}}'))
        )


async def test_a_stream_begins_before_anything_happens(gateway: Gateway, url: str) -> None:
    async with streaming(url, FEED) as stream:
        assert await stream.block() == Event((("", ""),))
        await until(lambda: gateway.feed.live_subscriptions == 1)
        id = await sent_notification(gateway)
        event = await stream.hear()
        assert event is not None
        assert event.result["data"]["status_feed"]["status"] == "ACCEPTED"
        gateway.store.change(id, Status.QUEUED)
        assert await stream.hear() is not None


# ----------------------------------------------------------------------------------------------------------- resuming


async def test_who_comes_back_goes_on_after_the_last_event(gateway: Gateway, url: str) -> None:
    id, rows = await finished_notification(gateway)
    back = {**EVENTS, "Last-Event-ID": cursor.encode(rows[0].position)}
    async with streaming(url, WATCH, id=id, headers=back) as stream:
        results = await stream.hear_results()
    assert [result["data"]["notification_status"]["sequence"] for result in results] == [3, 4]


@pytest.mark.parametrize(("after", "last"), [(0, 1), (1, 0), (1, 1)])
async def test_of_a_variable_and_the_last_event_the_later_one_counts(
    gateway: Gateway, url: str, after: int, last: int
) -> None:
    id, rows = await finished_notification(gateway)
    back = {**EVENTS, "Last-Event-ID": cursor.encode(rows[last].position)}
    async with streaming(url, WATCH, id=id, after=cursor.encode(rows[after].position), headers=back) as stream:
        (result,) = await stream.hear_results()
    assert result["data"]["notification_status"]["sequence"] == 4


async def test_a_last_event_that_is_none_of_ours_is_refused(gateway: Gateway, url: str) -> None:
    id = await sent_notification(gateway)
    async with streaming(url, WATCH, id=id, headers={**EVENTS, "Last-Event-ID": "42"}) as stream:
        (result,) = await stream.hear_results()
    assert result["errors"][0]["extensions"]["code"] == "VALIDATION_FAILED"


# --------------------------------------------------------------------------------------------------- who gets a stream


@pytest.mark.parametrize("accept", [URQL, "text/event-stream, multipart/mixed", "text/event-stream;q=0.1, */*"])
async def test_who_lists_event_streams_gets_one_for_a_subscription(gateway: Gateway, url: str, accept: str) -> None:
    id, _ = await finished_notification(gateway)
    async with streaming(url, WATCH, id=id, headers={"Accept": accept}) as stream:
        assert len(await stream.hear_results()) == 4


async def test_who_lists_json_too_gets_json_for_anything_else(url: str) -> None:
    for query, status in (("{ __typename }", 200), ("{", 400), ("subscription {", 400)):
        async with streaming(url, query, headers={"Accept": URQL}) as stream:
            assert stream.response.headers["content-type"].startswith("application/graphql-response+json")
            assert stream.response.status_code == status


async def test_who_takes_nothing_else_gets_everything_as_a_stream(gateway: Gateway, url: str) -> None:
    id = await sent_notification(gateway)
    cancel = "mutation ($id: ID!) { cancel_notification(id: $id) { success } }"
    for query, data in (
        ("query ($id: ID!) { node(id: $id) { __typename } }", {"node": {"__typename": "Notification"}}),
        (cancel, {"cancel_notification": {"success": True}}),
    ):
        async with streaming(url, query, id=id) as stream:
            assert await stream.hear_results() == [{"data": data}]


async def test_a_subscription_may_be_asked_for_by_get(gateway: Gateway, url: str) -> None:
    id, _ = await finished_notification(gateway)
    params = {"query": WATCH, "variables": f'{{"id": "{id}"}}'}
    async with httpx.AsyncClient(headers={"X-API-Key": KEY, **EVENTS}) as http:
        answer = await http.get(url, params=params)
        assert answer.text.count("event: next") == 4
        head = await http.head(url, params=params)
    assert (head.status_code, head.content) == (400, b"")


# ------------------------------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription ($id: ID!) { notification_status(id: $id) { status } }", "VALIDATION_FAILED"),
        (
            "subscription { status_feed { ...F } } fragment F on StatusEvent {" + " status" * 1_001 + "}",
            "LIMIT_EXCEEDED",
        ),
    ],
)
async def test_what_cannot_be_executed_has_one_event_without_data(url: str, query: str, code: str) -> None:
    async with streaming(url, query) as stream:
        assert stream.response.status_code == 200
        (result,) = await stream.hear_results()
    assert result.keys() == {"errors"}
    assert result["errors"][0]["extensions"]["code"] == code


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ('subscription { notification_status(id: "ntf_x") { status } }', "NOT_FOUND"),
        (f'subscription {{ status_feed(after: "{cursor.encode(99)}") {{ status }} }}', "CURSOR_EXPIRED"),
        ('subscription { status_feed(after: "nonsense") { status } }', "VALIDATION_FAILED"),
    ],
)
async def test_a_subscription_that_cannot_begin_says_why_and_completes(url: str, query: str, code: str) -> None:
    async with streaming(url, query) as stream:
        (result,) = await stream.hear_results()
    assert result["data"] is None
    assert result["errors"][0]["extensions"]["code"] == code


async def test_a_bug_is_masked_on_a_stream(gateway: Gateway, url: str) -> None:
    gateway.store.failing = RuntimeError("secret of the database")
    async with streaming(url, 'subscription { request_progress(request_id: "x") { percent } }') as stream:
        (result,) = await stream.hear_results()
    (error,) = result["errors"]
    assert (error["message"], error["extensions"]["code"]) == ("Internal error", "INTERNAL_SERVER_ERROR")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"headers": {"X-API-Key": "hg_wrong"}, "json": {"query": FEED}}, 401),
        ({"json": {"query": 5}}, 400),
        ({"json": {"query": "query A { __typename }", "operationName": "B"}}, 400),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ({"data": {"query": FEED}}, 415),
        ({"method": "GET", "params": {"query": "mutation { __typename }"}}, 405),
        ({"method": "PUT", "json": {}}, 405),
    ],
)
async def test_what_is_no_operation_is_refused_as_json(url: str, sent: dict[str, Any], status: int) -> None:
    async with httpx.AsyncClient(headers={"X-API-Key": KEY, **EVENTS}) as http:
        answer = await http.request(sent.pop("method", "POST"), url, **sent)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json; charset=utf-8")
    assert answer.json()["errors"][0]["extensions"]["code"]
