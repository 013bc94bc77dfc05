"""Server-sent events as others read them: the npm client `graphql-sse`, and curl."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from api.gateway import cursor
from tests.audit.conftest import address_of
from tests.audit.programs import Talker, node, output, program, running
from tests.e2e.api import SEND, WATCH
from tests.servers.roles import API_KEY, Process

FEED = "subscription ($after: String) { status_feed(after: $after) { notification_id status } }"
BEGINNING = {"after": cursor.encode(0)}


async def sent_to(url: str, address: str) -> str:
    """The id of a notification that was just accepted."""
    sending = {"recipient": {"email": address}, "content": {"subject": "Hello", "text": "World"}}
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with httpx.AsyncClient(headers=headers, timeout=30) as http:
        answer = (await http.post(url, json={"query": SEND, "variables": {"input": sending}})).json()
    id: str = answer["data"]["send_notification"]["data"]["notifications"][0]["id"]
    return id


def subscribe(url: str, query: str, **variables: Any) -> list[str]:
    """The command of a graphql-sse client."""
    return node("subscribe.mjs", url, API_KEY, json.dumps({"query": query, "variables": variables}))


async def heard_by(command: list[str]) -> list[Any]:
    """All that it hears until it ends."""
    return [json.loads(line) for line in (await output(command)).splitlines()]


async def until_accepted(client: Talker, id: str) -> None:
    """It hears of this notification."""
    event: dict[str, Any] = {}
    while event != {"notification_id": id, "status": "ACCEPTED"}:
        event = json.loads(await client.hear())["data"]["status_feed"]


@pytest.mark.usefixtures("packages")
class TestGraphqlSse:
    async def test_it_hears_a_notification_out(self, url: str) -> None:
        *heard, last = await heard_by(subscribe(url, WATCH, id=await sent_to(url, "ada@example.com")))
        events = [result["data"]["notification_status"] for result in heard]
        assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
        assert (events[-1]["status"], last) == ("SENT", "complete")

    async def test_it_hears_what_happens_from_now_on(self, url: str) -> None:
        known = await sent_to(url, "ada@example.com")
        async with running(subscribe(url, FEED, **BEGINNING)) as client:
            await until_accepted(client, known)
            await until_accepted(client, await sent_to(url, "bob@example.com"))

    async def test_it_hears_what_is_wrong_with_an_operation(self, url: str) -> None:
        result, last = await heard_by(subscribe(url, "subscription { nothing }"))
        assert [error["extensions"]["code"] for error in result["errors"]] == ["GRAPHQL_VALIDATION_FAILED"]
        assert last == "complete"

    async def test_it_takes_queries_the_same_way(self, url: str) -> None:
        assert await heard_by(subscribe(url, "{ __typename }")) == [{"data": {"__typename": "Query"}}, "complete"]

    async def test_a_gateway_that_stops_is_a_lost_connection_to_it_and_no_end(
        self, start: Callable[[], Process]
    ) -> None:
        gateway = start()
        url = address_of(gateway)
        known = await sent_to(url, "ada@example.com")
        async with running(subscribe(url, FEED, **BEGINNING)) as client:
            await until_accepted(client, known)
            gateway.stop()
            last = (await client.hear_all())[-1]
        assert "failed" in json.loads(last)
        assert "Traceback" not in gateway.log_text()


async def test_curl_shows_each_event(url: str) -> None:
    body = json.dumps({"query": WATCH, "variables": {"id": await sent_to(url, "ada@example.com")}})
    headers = (f"Authorization: Bearer {API_KEY}", "Content-Type: application/json", "Accept: text/event-stream")
    curl = [program("curl", "curl"), "-sSN", url, "-d", body, *(part for line in headers for part in ("-H", line))]
    comment, *events, last, rest = (await output(curl)).split("\n\n")
    assert (comment, last, rest) == (":", "event: complete\ndata:", "")
    assert [event.split("\n")[0] for event in events] == ["event: next"] * len(events)
    assert '"status":"SENT"' in events[-1]
