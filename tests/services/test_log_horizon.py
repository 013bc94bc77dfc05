"""What a client is told when the old part of the log is gone: over a socket and as an event stream alike."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.gateway import cursor
from api.server import Server
from domain.notification import Status
from domain.ports import LogFilter, LogRow
from tests.services.event_client import streaming
from tests.services.gateway_fakes import Gateway
from tests.services.socket_client import opened, until

FEED = "subscription ($after: String) { status_feed(after: $after) { position } }"
ONE = "subscription ($id: ID!, $after: String) { notification_status(id: $id, after: $after) { sequence status } }"
PAGE = 256


@pytest.fixture
async def port(gateway: Gateway) -> AsyncIterator[int]:
    server = Server(gateway.app, "127.0.0.1", 0)
    await server.start()
    yield server.port
    await server.stop()


async def by_socket(port: int, query: str, **variables: Any) -> list[Any]:
    """All results of an operation, until it is complete."""
    async with opened(f"ws://127.0.0.1:{port}/graphql") as socket:
        await socket.greet()
        await socket.subscribe(query, **variables)
        results = []
        while (message := await socket.hear())["type"] == "next":
            results.append(message["payload"])
        assert message["type"] == "complete"
        return results


async def by_stream(port: int, query: str, **variables: Any) -> list[Any]:
    """The same as an event stream."""
    async with streaming(f"http://127.0.0.1:{port}/graphql", query, **variables) as stream:
        return await stream.hear_results()


TRANSPORTS = pytest.mark.parametrize("results_of", [by_socket, by_stream], ids=["socket", "stream"])


async def sent(gateway: Gateway) -> str:
    """A notification with four entries."""
    id = str((await gateway.send())["data"]["notifications"][0]["id"])
    for status in (Status.QUEUED, Status.SENDING, Status.SENT):
        gateway.store.change(id, status)
    return id


def check_expired(result: Any) -> None:
    (error,) = result["errors"]
    assert error["extensions"]["code"] == "CURSOR_EXPIRED"
    assert "Subscribe again without `after`" in error["message"]


@TRANSPORTS
async def test_a_cursor_below_the_horizon_has_expired(gateway: Gateway, port: int, results_of: Any) -> None:
    id = await sent(gateway)
    gateway.store.log.prune(3)
    (only,) = await results_of(port, FEED, after=cursor.encode(2))
    check_expired(only)
    gateway.feed.horizon = 3
    for query in (FEED, ONE):
        (only,) = await results_of(port, query, id=id, after=cursor.encode(2))
        check_expired(only)


@TRANSPORTS
async def test_a_slow_reader_that_the_horizon_overtakes_is_told(
    gateway: Gateway, port: int, results_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = gateway.store.log
    for _ in range(3 * PAGE):
        log.append("ntf_1", Status.QUEUED)
    await until(lambda: gateway.feed.position == 3 * PAGE)
    real = log.read

    async def pruned_while_it_was_read(
        after: int, limit: int, where: LogFilter, until: int | None = None
    ) -> list[LogRow]:
        rows = await real(after, limit, where, until)
        if rows and rows[0].position == 1:
            log.prune(2 * PAGE)
        return rows

    monkeypatch.setattr(log, "read", pruned_while_it_was_read)
    *seen, last = await results_of(port, FEED, after=cursor.encode(0))
    assert [int(result["data"]["status_feed"]["position"]) for result in seen] == list(range(1, PAGE + 1))
    check_expired(last)


@TRANSPORTS
async def test_what_is_kept_is_told_from_its_first_entry(gateway: Gateway, port: int, results_of: Any) -> None:
    id = await sent(gateway)
    gateway.store.log.prune(3)
    gateway.feed.horizon = 3
    results = await results_of(port, ONE, id=id)
    assert [result["data"]["notification_status"]["sequence"] for result in results] == [1, 2, 3, 4]


@TRANSPORTS
async def test_what_was_removed_as_it_was_asked_for_is_no_silence(gateway: Gateway, port: int, results_of: Any) -> None:
    id = await sent(gateway)
    gateway.store.log.prune(4, id)  # it was found, and is gone before its log is read
    (only,) = await results_of(port, ONE, id=id)
    assert only["errors"][0]["extensions"]["code"] == "CURSOR_EXPIRED"


async def test_last_event_id_below_the_horizon_has_expired_too(gateway: Gateway, port: int) -> None:
    await sent(gateway)
    gateway.store.log.prune(3)
    headers = {"Accept": "text/event-stream", "Last-Event-ID": cursor.encode(1)}
    async with streaming(f"http://127.0.0.1:{port}/graphql", FEED, headers=headers) as stream:
        (only,) = await stream.hear_results()
    check_expired(only)
