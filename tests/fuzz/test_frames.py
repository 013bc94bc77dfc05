"""Whatever is said on a socket, in whatever order: the gateway closes it with a code of the protocol or goes on."""

import asyncio
import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.fuzz.conftest import Served
from tests.fuzz.effort import effort
from tests.services.gateway_fakes import KEY
from tests.services.socket_client import opened

CODES = {None, 1000, 1003, 1007, 1009, 4400, 4401, 4403, 4406, 4408, 4409, 4429}
"""What a socket may be closed with for what it said; None: it is still open."""
DOCUMENTS = (
    "{ __typename }",
    "subscription { status_feed { cursor } }",
    "subscription ($after: String) { status_feed(after: $after) { cursor } }",
    "query ($id: ID!) { node(id: $id) { id } }",
    'mutation { cancel_notification(id: "x") { success } }',
    "query A { __typename } query B { __typename }",
    "{",
    "",
)

letters = st.text(st.characters(exclude_categories=[]), max_size=20)
texts = letters | st.builds(lambda text, times: text * times, letters, st.sampled_from([10, 500]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
ids = st.sampled_from(["1", "2", "x" * 5_000, ""]) | texts | json_values
payloads = st.fixed_dictionaries(
    {},
    optional={
        "query": st.sampled_from(DOCUMENTS) | json_values,
        "variables": st.dictionaries(st.sampled_from(["id", "after"]), json_values) | json_values,
        "operationName": st.sampled_from(["A", "B", "C"]) | json_values,
        "extensions": st.fixed_dictionaries({"persistedQuery": json_values}) | json_values,
        "documentId": json_values,
    },
)
greetings = st.just({"type": "connection_init", "payload": {"Authorization": f"Bearer {KEY}"}})
messages = st.one_of(
    greetings,
    st.fixed_dictionaries(
        {"type": st.sampled_from(["connection_init", "ping", "pong"])}, optional={"payload": json_values}
    ),
    st.fixed_dictionaries({"type": st.just("subscribe"), "id": ids, "payload": payloads}),
    st.fixed_dictionaries({"type": st.just("complete")}, optional={"id": ids}),
    st.fixed_dictionaries({"type": texts}),
    st.fixed_dictionaries({}, optional={"type": json_values, "id": ids, "payload": payloads | json_values}),
    json_values,
)
frames = messages.map(json.dumps) | st.text(max_size=60) | st.binary(max_size=60)
"""Lone surrogates are in the messages, escaped; a frame of text cannot hold them."""


async def said(url: str, spoken: Sequence[str | bytes], *, greeted: bool) -> int | None:
    """Say all this; the code that the server closed with, if it did."""
    async with connect(url, subprotocols=["graphql-transport-ws"]) as connection:  # type: ignore[list-item]
        try:
            if greeted:
                await connection.send(json.dumps({"type": "connection_init", "payload": {"api_key": KEY}}))
            for frame in spoken:
                await connection.send(frame)
            # Its answer comes after everything that was said before has been dealt with.
            await connection.send(json.dumps({"type": "ping"}))
            async with asyncio.timeout(10):
                while json.loads(await connection.recv())["type"] != "pong":
                    pass
        except ConnectionClosed:
            return connection.close_code
    return None


@effort(250)
@given(st.lists(frames, max_size=6), st.booleans())
async def test_no_conversation_is_taken_amiss(served: Served, spoken: list[str | bytes], greeted: bool) -> None:
    code = await said(served.socket_url, spoken, greeted=greeted)
    assert code in CODES
    assert served.taken_amiss() == []


@effort(30)
@given(st.lists(frames, min_size=1, max_size=4))
async def test_others_go_on_meanwhile(served: Served, spoken: list[str | bytes]) -> None:
    async with opened(served.socket_url) as neighbour:
        await neighbour.greet()
        await said(served.socket_url, spoken, greeted=True)
        await neighbour.subscribe("{ __typename }")
        assert (await neighbour.hear())["payload"] == {"data": {"__typename": "Query"}}
