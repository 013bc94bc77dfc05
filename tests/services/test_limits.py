"""Rate limits at every door: told as data where the answer has an envelope, and how long to wait everywhere."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from api.server import Server
from tests.services.event_client import streaming
from tests.services.gateway_fakes import KEY, READER, SEND, Gateway, running_gateway
from tests.services.socket_client import FEED, opened

LIST = "{ notifications { success error { __typename code ... on RateLimitedError { retry_after_seconds } } } }"


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """A gateway where each key may do two operations an hour."""
    async with running_gateway("2/hour") as running:
        yield running


async def test_a_root_field_too_many_is_an_error_as_data(gateway: Gateway) -> None:
    assert [(await gateway.ask(LIST))["notifications"]["success"] for _ in range(3)] == [True, True, False]
    error = (await gateway.ask(LIST))["notifications"]["error"]
    assert (error["__typename"], error["code"]) == ("RateLimitedError", "RATE_LIMITED")
    assert 1 <= error["retry_after_seconds"] <= 3600


async def test_each_root_field_counts_and_each_key_counts_for_itself(gateway: Gateway) -> None:
    thrice = "{ a: notifications { success } b: notifications { success } c: notifications { success } }"
    found = await gateway.ask(thrice)
    assert sorted(each["success"] for each in found.values()) == [False, True, True]
    assert (await gateway.ask(LIST, key=READER))["notifications"]["success"] is True


async def test_what_has_no_envelope_says_it_in_its_extensions(gateway: Gateway) -> None:
    for _ in range(2):
        await gateway.ask(LIST)
    answer = (await gateway.post("{ notifications_connection { nodes { id } } }")).json()
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert error["extensions"]["retry_after_seconds"] >= 1


async def test_rest_says_429_and_when_to_come_back(gateway: Gateway) -> None:
    headers = {"X-API-Key": KEY}
    answers = [await gateway.http.get("/v1/requests/none", headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [404, 404, 429]
    assert int(answers[2].headers["retry-after"]) >= 1
    assert answers[2].json()["error"]["retry_after_seconds"] >= 1


async def test_a_subscription_too_many_fails_and_its_socket_lives(gateway: Gateway) -> None:
    server = Server(gateway.app, "127.0.0.1", 0)
    await server.start()
    try:
        async with opened(f"ws://127.0.0.1:{server.port}/graphql") as socket:
            await socket.greet()
            for number in range(3):
                await socket.subscribe(FEED, str(number))
            refused = await socket.hear()
            assert (refused["type"], refused["id"]) == ("error", "2")
            assert refused["payload"][0]["extensions"]["code"] == "RATE_LIMITED"
            other = msgspec.structs.replace(gateway.keys.known[KEY], key_id="key_of_another")
            gateway.keys.known["hg_another"] = other
            mail = {"recipient": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}}
            await gateway.ask(SEND, {"input": mail}, key="hg_another")
            heard = {(await socket.hear())["id"] for _ in range(2)}
            assert heard == {"0", "1"}
    finally:
        await server.stop()


async def test_a_stream_too_many_says_so_and_ends(gateway: Gateway) -> None:
    for _ in range(2):
        await gateway.ask(LIST)
    server = Server(gateway.app, "127.0.0.1", 0)
    await server.start()
    try:
        async with streaming(f"http://127.0.0.1:{server.port}/graphql", FEED) as stream:
            (result,) = await stream.hear_results()
    finally:
        await server.stop()
    (error,) = result["errors"]
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert error["extensions"]["retry_after_seconds"] >= 1
