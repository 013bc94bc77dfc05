"""Pages of other origins: one list says which of them may call GraphQL, over HTTP and over sockets alike."""

from collections.abc import AsyncIterator

import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from tests.services.event_client import EVENTS, streaming
from tests.services.gateway_fakes import KEY, Gateway, running_gateway
from tests.services.socket_client import FEED, opened

SHOP, STRANGER = "https://shop.example", "https://evil.example"
CALL = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """A gateway that pages of the shop may call."""
    async with running_gateway(allowed_origins=(SHOP, "http://localhost:5173")) as running:
        yield running


async def test_a_browser_that_asks_first_is_told_that_the_page_may_call(gateway: Gateway) -> None:
    answer = await gateway.http.options("/graphql", headers={"Origin": SHOP, **CALL})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, SHOP)
    assert answer.headers["access-control-allow-headers"] == CALL["Access-Control-Request-Headers"]
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_page_of_a_stranger_is_refused_as_json(gateway: Gateway) -> None:
    answer = await gateway.http.options("/graphql", headers={"Origin": STRANGER, **CALL})
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (400, "FORBIDDEN")
    assert "access-control-allow-origin" not in answer.headers


async def test_a_page_may_read_its_answers_and_a_stranger_none(gateway: Gateway) -> None:
    for query in ("{ __typename }", "{"):
        answer = await gateway.post(query, headers={"Origin": SHOP})
        assert answer.headers["access-control-allow-origin"] == SHOP
        assert "X-Correlation-ID" in answer.headers["access-control-expose-headers"]
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-origin" not in (await gateway.post(query, headers={"Origin": STRANGER})).headers
    refused = await gateway.post("{ __typename }", key=None, headers={"Origin": SHOP})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, SHOP)


async def test_a_page_may_read_a_stream(address: str) -> None:
    async with streaming(f"http://{address}/graphql", FEED, headers={**EVENTS, "Origin": SHOP}) as stream:
        assert stream.response.headers["access-control-allow-origin"] == SHOP


async def test_a_page_may_open_a_socket_and_a_stranger_none(address: str) -> None:
    url = f"ws://{address}/graphql"
    for origin in (SHOP, "http://localhost:5173", f"http://{address}"):
        async with opened(url, origin=Origin(origin)) as socket:
            await socket.greet(KEY)
    with pytest.raises(InvalidStatus):
        async with opened(url, origin=Origin(STRANGER)):
            pass


async def test_without_a_list_no_other_page_may_call() -> None:
    async with running_gateway() as gateway:
        asked = await gateway.http.options("/graphql", headers={"Origin": SHOP, **CALL})
        called = await gateway.post("{ __typename }", headers={"Origin": SHOP})
    assert not [name for answer in (asked, called) for name in answer.headers if name.startswith("access-control")]
