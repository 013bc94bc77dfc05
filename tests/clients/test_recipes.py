"""Each recipe does what docs/clients.md says, with the real client against a real gateway."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.clients.gateway import Gateway
from tests.clients.programs import Program, recipe
from tests.e2e.api import CANCEL, Api
from tests.servers.roles import API_KEY

SENT = ["ACCEPTED", "QUEUED", "SENDING", "SENT"]
SENDERS = ["apollo_send.mjs", "urql_send.mjs", "gql_send.py"]


async def said(gateway: Gateway, name: str, *arguments: str, key: str = API_KEY) -> list[str]:
    """All that a recipe says until it ends."""
    async with recipe(name, *arguments, port=gateway.port, HELIOGRAPH_KEY=key) as program:
        return await program.rest()


class TestWatch:
    async def test_graphql_ws_watches_to_the_end(self, gateway: Gateway, api: Api) -> None:
        *events, end = map(json.loads, await said(gateway, "watch.mjs", await api.send_one()))
        assert [(event["sequence"], event["status"]) for event in events] == list(enumerate(SENT, 1))
        assert end == {"complete": True}

    async def test_gql_watches_to_the_end(self, gateway: Gateway, api: Api) -> None:
        events = [json.loads(line) for line in await said(gateway, "gql_watch.py", await api.send_one())]
        assert [(event["sequence"], event["status"]) for event in events] == list(enumerate(SENT, 1))

    async def test_what_cannot_be_watched_is_said_and_not_tried_again(self, gateway: Gateway) -> None:
        assert list(map(json.loads, await said(gateway, "watch.mjs", "ntf_1"))) == [
            {"code": "NOT_FOUND"},
            {"complete": True},
        ]
        assert "'code': 'NOT_FOUND'" in (await said(gateway, "gql_watch.py", "ntf_1"))[-1]


class TestSend:
    async def test_apollo_sends_and_watches(self, gateway: Gateway) -> None:
        assert await said(gateway, "apollo_send.mjs", "ada@example.com") == [*SENT, "complete"]

    async def test_urql_sends_watches_and_reads(self, gateway: Gateway) -> None:
        *statuses, read = await said(gateway, "urql_send.mjs", "ada@example.com")
        assert statuses == SENT
        assert json.loads(read)["status"] == "SENT"

    async def test_gql_sends(self, gateway: Gateway, api: Api) -> None:
        (id,) = await said(gateway, "gql_send.py", "ada@example.com")
        assert (await api.until(id, "SENT"))["recipient"]["email"] == "ada@example.com"

    async def test_what_is_wrong_with_an_input_is_told_by_the_type_of_the_error(self, gateway: Gateway) -> None:
        assert await said(gateway, "apollo_send.mjs", "nobody") == ["recipient.email is not an email address"]
        assert await said(gateway, "urql_send.mjs", "nobody") == ["ValidationError VALIDATION_FAILED"]
        assert "is not an email address" in (await said(gateway, "gql_send.py", "nobody"))[0]

    @pytest.mark.parametrize("name", SENDERS)
    async def test_a_bad_key_is_an_error_with_a_code(self, gateway: Gateway, name: str) -> None:
        assert "UNAUTHENTICATED" in "\n".join(await said(gateway, name, "ada@example.com", key="hg_wrong"))

    async def test_apollo_and_urql_put_the_code_where_the_table_says(self, gateway: Gateway) -> None:
        assert await said(gateway, "../refusals.mjs") == [
            "Apollo Client call UNAUTHENTICATED",
            "Apollo Client subscription NOT_FOUND",
            "urql call UNAUTHENTICATED",
            "urql subscription NOT_FOUND",
        ]


class TestList:
    async def test_apollo_pages_by_cursor_and_shows_what_events_bring(self, gateway: Gateway, api: Api) -> None:
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        ids = [await api.send_one(send_at=later) for _ in range(5)][::-1]
        async with recipe("apollo_list.mjs", port=gateway.port, HELIOGRAPH_KEY=API_KEY) as program:
            assert await shown(program) == [(id, "SCHEDULED") for id in ids[:2]]
            await program.enter()
            assert await shown(program) == [(id, "SCHEDULED") for id in ids[:4]]
            cancelled, nodes = await cancel_until_shown(api, ids[:4], program)
            assert [id for id, status in nodes if status == "CANCELLED"] == [cancelled]
            assert [id for id, _ in nodes] == ids[:4]


async def shown(program: Program) -> list[tuple[str, str]]:
    """The list as it is printed next."""
    nodes: list[dict[str, Any]] = json.loads(await program.line())
    return [(node["id"], node["status"]) for node in nodes]


async def cancel_until_shown(api: Api, ids: list[str], program: Program) -> tuple[str, list[tuple[str, str]]]:
    """Cancel one after the other until the list changes: its feed may begin a little later than the list.

    What was cancelled last, and the list then.
    """
    reading = asyncio.ensure_future(shown(program))
    for id in ids:
        assert (await api.payload(CANCEL, id=id))["success"]
        done, _ = await asyncio.wait([reading], timeout=2.0)
        if done:
            return id, await reading
    reading.cancel()
    raise AssertionError("the list does not change")
