"""The command line goes on without a gap and without a duplicate when the gateway is killed and started again."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.gateway import Entry, Gateway
from tests.e2e.api import CONTENT, Api
from tests.faults.wire import Wire
from tests.servers.roles import API_KEY
from tests.services.command_line import Command, Done, heliograph, started

BATCH = "mutation ($input: SendBatchInput!) { send_batch(input: $input) { success message } }"
PLACES = ("ada@example.com", "defer@sandbox.heliograph.test", "bounce@sandbox.heliograph.test")


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """One that runs, and may be killed."""
    gateway = Gateway(tmp_path)
    try:
        await gateway.start()
        yield gateway
    finally:
        await gateway.stop()


def url_of(gateway: Gateway) -> str:
    return f"http://127.0.0.1:{gateway.port}"


async def send_many(gateway: Gateway, request_id: str) -> None:
    """A batch that takes its time, with retries and bounces in it."""
    recipients = [{"recipient": {"email": place}} for place in PLACES * 20]
    given = {"request_id": request_id, "recipients": recipients, "content": CONTENT, "channels": ["EMAIL"]}
    async with Api(gateway.port, API_KEY) as api:
        assert (await api.payload(BATCH, input=given))["success"]


async def read(command: Command, count: int) -> None:
    """Read so many more events."""
    for _ in range(count):
        await command.line()


def entries(done: Done) -> list[tuple[str, int, str]]:
    """The events that were shown in JSON, and the log's in the same words."""
    events: list[dict[str, Any]] = [json.loads(line) for line in done.out.splitlines()]
    return [(event["notification_id"], event["sequence"], event["status"]) for event in events]


def without_positions(log: list[Entry]) -> list[tuple[str, int, str]]:
    return [entry[1:] for entry in log]


async def test_a_watched_request_has_each_event_once_across_two_kills(gateway: Gateway) -> None:
    await send_many(gateway, "spring")
    async with started("watch", "spring", "--json", url=url_of(gateway), key=API_KEY) as command:
        for _ in range(2):
            await read(command, 60)
            await gateway.kill()
            await gateway.start()
        done = await command.done()
    assert done.status == 1, "some bounced"
    assert entries(done) == without_positions(gateway.log())
    assert done.err.count("is lost") == done.err.count("connected again") == 2


async def finished(gateway: Gateway, request_id: str) -> tuple[str, list[Entry]]:
    """Wait until all of a request is final; the cursor of its last event, and the log."""
    done = await heliograph("watch", request_id, "--json", url=url_of(gateway), key=API_KEY)
    return json.loads(done.out.splitlines()[-1])["cursor"], gateway.log()


async def test_a_tail_has_each_event_once_across_a_kill(gateway: Gateway) -> None:
    await send_many(gateway, "winter")
    cursor, seen = await finished(gateway, "winter")
    async with started("tail", "--after", cursor, "--json", url=url_of(gateway), key=API_KEY) as command:
        await send_many(gateway, "spring")
        await read(command, 80)
        await gateway.kill()
        await gateway.start()
        _, log = await finished(gateway, "spring")
        await read(command, len(log) - len(seen) - 80)
        command.interrupt()
        done = await command.done()
    assert entries(done) == without_positions(log[len(seen) :])


async def test_a_tail_has_each_event_once_when_its_connection_breaks(gateway: Gateway) -> None:
    await send_many(gateway, "winter")
    cursor, seen = await finished(gateway, "winter")
    wire = Wire(gateway.port)
    await wire.start()
    try:
        async with started(
            "tail", "--after", cursor, "--json", url=f"http://127.0.0.1:{wire.port}", key=API_KEY
        ) as command:
            await send_many(gateway, "spring")
            await read(command, 60)
            wire.cut()
            assert "is lost" in await command.note()
            assert "connected again" in await command.note()
            _, log = await finished(gateway, "spring")
            await read(command, len(log) - len(seen) - 60)
            command.interrupt()
            done = await command.done()
    finally:
        await wire.stop()
    assert entries(done) == without_positions(log[len(seen) :])
