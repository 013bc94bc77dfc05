"""The life of a stream of server-sent events: what keeps it alive, what ends it, and that nothing is left behind."""

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import msgspec
import pytest
from starlette.types import Message, Receive, Scope, Send

from api import server as serving
from api.gateway import event_stream
from api.server import Server
from domain.notification import Status
from tests.services.event_client import EVENTS, streaming
from tests.services.gateway_fakes import KEY, Gateway, running_gateway
from tests.services.socket_client import FEED, until

LONG = "x" * 20_000
NO_GRACE_NEEDED = 60
STEADY = 20
"""Looks at something that does not move, until it is taken to stand still."""


class Served:
    """A gateway on a real port; `server.stop()` may be called in between. It sees what the server takes."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.server = Server(self, "127.0.0.1", 0, grace=NO_GRACE_NEEDED)
        self._offered = self._taken = self._looks = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Message) -> None:
            self._offered += 1
            self._looks = 0
            await send(message)
            self._taken += 1

        await self.gateway.app(scope, receive, watched)

    @property
    def url(self) -> str:
        """Where it speaks GraphQL."""
        return f"http://127.0.0.1:{self.server.port}/graphql"

    async def until_live(self, count: int) -> None:
        """So many subscriptions wait at the live end of the log."""
        await until(lambda: self.gateway.feed.live_subscriptions == count)

    async def until_stuck(self) -> None:
        """The server waits for a client to read, and goes on waiting."""
        await until(self._is_stuck)

    def _is_stuck(self) -> bool:
        self._looks += 1
        return self._offered > self._taken and self._looks > STEADY

    async def until_gone(self) -> None:
        """No stream is open, and no subscription."""
        await until(lambda: len(self.gateway.sockets) == 0)
        await self.until_live(0)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A gateway that is served."""
    async with running_gateway() as gateway:
        served = Served(gateway)
        await served.server.start()
        try:
            yield served
        finally:
            await served.server.stop()


@contextmanager
def deaf_client(served: Served) -> Iterator[socket.socket]:
    """A client that asks for the feed and reads nothing of it."""
    body = json.dumps({"query": "subscription { status_feed { reason } }"})
    lines = (
        "POST /graphql HTTP/1.1", "Host: gateway", f"X-API-Key: {KEY}", "Content-Type: application/json",
        f"Accept: {EVENTS['Accept']}", f"Content-Length: {len(body)}", "", body,
    )  # fmt: skip
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.connect(("127.0.0.1", served.server.port))
        client.sendall("\r\n".join(lines).encode())
        yield client


async def fill(served: Served) -> None:
    """Let more happen than fits between the gateway and a client that reads nothing."""
    await served.until_live(1)
    id = (await served.gateway.send())["data"]["notifications"][0]["id"]
    for _ in range(1_000):  # 20 MB
        served.gateway.store.change(id, Status.QUEUED, LONG)
    await served.until_stuck()


async def test_an_idle_stream_says_so(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_SECONDS", 0.02)
    async with streaming(served.url, FEED) as stream:
        comments = [await stream.block() for _ in range(4)]
    assert [comment and comment.fields for comment in comments] == [(("", ""),)] * 4


async def test_a_client_that_leaves_leaves_nothing_behind(served: Served) -> None:
    before = len(asyncio.all_tasks())
    async with streaming(served.url, FEED):
        await served.until_live(1)
        assert len(served.gateway.sockets) == 1
    await served.until_gone()
    await until(lambda: len(asyncio.all_tasks()) <= before)


async def test_a_stream_that_is_complete_leaves_nothing_behind(served: Served) -> None:
    before = len(asyncio.all_tasks())
    async with streaming(served.url, 'subscription { notification_status(id: "ntf_x") { status } }') as stream:
        await stream.hear_results()
        await served.until_gone()
    await until(lambda: len(asyncio.all_tasks()) <= before)


async def test_a_stream_ends_when_its_key_is_revoked(served: Served) -> None:
    async with streaming(served.url, FEED) as stream:
        await served.until_live(1)
        served.gateway.sockets.revoke(["key_of_another", "key_1"])
        (result,) = await stream.hear_results()
    assert result["errors"] == [{"message": "The API key was revoked.", "extensions": {"code": "UNAUTHENTICATED"}}]
    await served.until_gone()


async def test_a_stream_ends_when_its_credential_expires(served: Served) -> None:
    known = served.gateway.keys.known
    known["hg_short"] = msgspec.structs.replace(known[KEY], key_id="key_short", expires_at=time.time() + 0.3)
    async with streaming(served.url, FEED, key="hg_short") as stream:
        (result,) = await stream.hear_results()
    assert result["errors"][0]["message"] == "The credential has expired."
    await served.until_gone()


async def test_a_server_that_stops_ends_its_streams_without_saying_that_they_are_complete(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async with streaming(served.url, FEED) as stream:
        await served.until_live(1)
        with caplog.at_level(logging.ERROR):
            async with asyncio.timeout(20):
                await served.server.stop()
        assert await stream.hear() is None
    await served.until_gone()
    assert caplog.records == []


class TestClientThatReadsNothing:
    """It costs what fits between it and the gateway, and no more; it holds up nobody."""

    async def test_it_does_not_hold_up_the_end_of_the_server(
        self, served: Served, caplog: pytest.LogCaptureFixture
    ) -> None:
        with deaf_client(served):
            await fill(served)
            with caplog.at_level(logging.ERROR):
                async with asyncio.timeout(20):
                    await served.server.stop()
            await served.until_gone()
        assert caplog.records == []

    async def test_it_loses_its_subscription_with_its_key(self, served: Served) -> None:
        before = len(asyncio.all_tasks())
        with deaf_client(served):
            await fill(served)
            served.gateway.sockets.revoke(["key_1"])
            await served.until_gone()
        await until(lambda: len(asyncio.all_tasks()) <= before)

    async def test_others_hear_everything(self, served: Served) -> None:
        with deaf_client(served):
            await fill(served)
            async with streaming(served.url, FEED) as stream:
                await served.until_live(2)
                await served.gateway.send()
                event = await stream.hear()
        assert event is not None
        assert event.result["data"]["status_feed"]["status"] == "ACCEPTED"

    async def test_it_is_dropped_after_a_while(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(serving, "STALLED_SECONDS", 1)
        async with running_gateway() as gateway:
            served = Served(gateway)
            await served.server.start()
            try:
                with deaf_client(served):
                    await fill(served)
                    await served.until_gone()
            finally:
                await served.server.stop()
