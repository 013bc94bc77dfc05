"""The local FCM endpoint as a developer meets it: over HTTP, mounted, started and stopped."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from workers.http_pool import HttpPool
from workers.sandbox.fcm import FcmEndpoint, FcmStore, fcm_app

SEND = "/v1/projects/demo/messages:send"
AUTHORIZED = {"authorization": "Bearer local"}


@pytest.fixture
async def endpoint() -> AsyncIterator[FcmEndpoint]:
    fcm = FcmEndpoint(capacity=3)
    await fcm.start()
    yield fcm
    await fcm.stop()


@pytest.fixture
async def client(endpoint: FcmEndpoint) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=endpoint.url, headers=AUTHORIZED, trust_env=False) as http:
        yield http


def message(token: str = "a-token", **fields: Any) -> dict[str, Any]:
    return {"message": {"token": token, **fields}}


async def test_an_accepted_message_gets_a_name_and_is_kept(endpoint: FcmEndpoint, client: httpx.AsyncClient) -> None:
    answer = await client.post(SEND, json=message(notification={"title": "Hi"}))
    [kept] = endpoint.store.messages
    assert answer.json() == {"name": kept.name}
    assert kept.name.startswith("projects/demo/messages/")
    assert (kept.token, kept.message["notification"]) == ("a-token", {"title": "Hi"})


async def test_only_the_last_messages_are_kept(endpoint: FcmEndpoint, client: httpx.AsyncClient) -> None:
    for number in range(5):
        await client.post(SEND, json=message(f"token-{number}"))
    assert [kept.token for kept in endpoint.store.messages] == ["token-2", "token-3", "token-4"]
    endpoint.store.clear()
    assert endpoint.store.messages == []


async def test_errors_have_googles_format(client: httpx.AsyncClient) -> None:
    answer = await client.post(SEND, json=message("x-sandbox-unregistered"))
    assert answer.status_code == 404
    assert answer.json() == {
        "error": {
            "code": 404,
            "message": "Requested entity was not found.",
            "status": "NOT_FOUND",
            "details": [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"}],
        }
    }


async def test_a_quota_says_when_to_come_back(client: httpx.AsyncClient) -> None:
    answer = await client.post(SEND, json=message("sandbox-quota"))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"message": 1}',
        b'{"message": {"topic": "all"}}',
        b'{"message": {"token": ""}}',
        b'{"message": {"token": "t", "data": {"k": 1}}}',
        b'{"message": {"token": "t", "data": {"k": "%s"}}}' % (b"v" * 4096),
        b'{"message": {"token": "t", "x": "%s"}}' % (b"v" * 70_000),
    ],
    ids=["empty", "no json", "list", "no message", "no token", "empty token", "data", "too big", "far too big"],
)
async def test_what_is_no_message_is_an_invalid_argument(
    endpoint: FcmEndpoint, client: httpx.AsyncClient, body: bytes
) -> None:
    answer = await client.post(SEND, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert endpoint.store.messages == []


async def test_nobody_without_a_bearer_token(endpoint: FcmEndpoint) -> None:
    pool = HttpPool(endpoint.url)
    assert (await pool.post(SEND, {}, b"{}", 10.0)).status == 401
    pool.close()


async def test_it_can_be_mounted() -> None:
    store = FcmStore()
    app = Starlette(routes=[Mount("/sandbox/fcm", fcm_app(store))])
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://local", headers=AUTHORIZED) as client:
        assert (await client.post("/sandbox/fcm" + SEND, json=message())).status_code == 200
    assert len(store.messages) == 1


async def test_it_leaves_the_signals_alone_and_its_port_to_the_next() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    first = FcmEndpoint()
    await first.start()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    with pytest.raises(OSError, match="in use"):
        await FcmEndpoint(port=first.port).start()
    await first.stop()
    await first.stop()
    second = FcmEndpoint(port=first.port)
    await second.start()
    await second.stop()


async def test_a_request_that_hangs_does_not_hold_up_the_stop() -> None:
    endpoint = FcmEndpoint()
    await endpoint.start()
    async with httpx.AsyncClient(base_url=endpoint.url, headers=AUTHORIZED, trust_env=False) as client:
        hanging = asyncio.create_task(client.post(SEND, json=message("sandbox-hang")))
        await client.post(SEND, json=message())
        async with asyncio.timeout(10.0):
            await endpoint.stop()
        await asyncio.wait({hanging})
        assert isinstance(hanging.exception(), httpx.RemoteProtocolError)
