"""Whatever is lost on the way, each client gets each entry of the status log once."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.ids import USER, new_id
from tests.clients.gateway import Entry, Gateway
from tests.clients.programs import DEADLINE, Program, recipe
from tests.clients.tokens import Tokens
from tests.e2e.api import CONTENT, WATCH, WATCH_REQUEST, Api
from tests.faults.wire import Wire
from tests.servers.roles import API_KEY

BATCH = "mutation ($input: SendBatchInput!) { send_batch(input: $input) { success data { request { request_id } } } }"
PLACES = ["ada@example.com", "defer@sandbox.heliograph.test", "bounce@sandbox.heliograph.test"]
HASTE, SLUGGISH = (["--import", str(Path(__file__).with_name(name))] for name in ("haste.mjs", "sluggish.mjs"))


def entries(lines: Sequence[str]) -> list[Entry]:
    """What a recipe printed, as entries of the log."""
    events: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [(event["position"], event["notification_id"], event["sequence"], event["status"]) for event in events]


@pytest.fixture
async def end(api: Api) -> dict[str, Any]:
    """The last entry of the log, of a notification that is finished."""
    return (await api.watch(WATCH, id=await api.send_one()))[-1]


@pytest.fixture
def file(end: dict[str, Any], tmp_path: Path) -> Path:
    """Where `follow.mjs` finds that it is to go on from there."""
    path = tmp_path / "last.json"
    path.write_text(json.dumps({"cursor": end["cursor"], "position": end["position"]}))
    return path


async def send_many(api: Api) -> str:
    """A batch that takes its time, with retries and bounces in it; its request id."""
    recipients = [{"recipient": {"email": place}} for place in PLACES * 20]
    payload = await api.payload(BATCH, input={"recipients": recipients, "content": CONTENT, "channels": ["EMAIL"]})
    return str(payload["data"]["request"]["request_id"])


async def read_on(program: Program, count: int) -> None:
    """Read so many more events."""
    for _ in range(count):
        await program.event()


async def read_to_the_end(program: Program, gateway: Gateway, api: Api, requests: Sequence[str]) -> None:
    """Wait until the requests are finished, and read what there is of the log then."""
    for request in requests:
        await api.watch(WATCH_REQUEST, id=request)
    position, *_ = gateway.log()[-1]
    while (await program.event())["position"] < position:
        pass


class TestFollow:
    async def test_a_killed_and_a_stopped_gateway_leave_neither_gap_nor_duplicate(
        self, gateway: Gateway, api: Api, file: Path, end: dict[str, Any]
    ) -> None:
        requests = []
        async with recipe("follow.mjs", str(file), port=gateway.port, HELIOGRAPH_KEY=API_KEY) as program:
            for take_away in (gateway.kill, gateway.stop):
                requests.append(await send_many(api))
                await read_on(program, 50)
                await take_away()
                await gateway.start()
            requests.append(await send_many(api))
            await read_to_the_end(program, gateway, api, requests)
        assert entries(program.said) == gateway.log(end["position"])

    async def test_a_slow_program_gets_nothing_twice_that_waited_in_it_meanwhile(
        self, gateway: Gateway, api: Api, file: Path, end: dict[str, Any]
    ) -> None:
        options: dict[str, Any] = {"port": gateway.port, "options": SLUGGISH}
        async with recipe("follow.mjs", str(file), **options, HELIOGRAPH_KEY=API_KEY) as program:
            request = await send_many(api)
            await api.watch(WATCH_REQUEST, id=request)
            await gateway.kill()
            await gateway.start()
            await api.until(await api.send_one(), "SENT")
            await read_to_the_end(program, gateway, api, [request])
        assert entries(program.said) == gateway.log(end["position"])

    async def test_a_killed_client_goes_on_and_repeats_at_most_what_it_had_in_hand(
        self, gateway: Gateway, api: Api, file: Path, end: dict[str, Any]
    ) -> None:
        async with recipe("follow.mjs", str(file), port=gateway.port, HELIOGRAPH_KEY=API_KEY) as first:
            request = await send_many(api)
            await read_on(first, 50)
        async with recipe("follow.mjs", str(file), port=gateway.port, HELIOGRAPH_KEY=API_KEY) as second:
            await read_to_the_end(second, gateway, api, [request])
        before, after = entries(first.said), entries(second.said)
        in_hand = after[:1] if after[0] == before[-1] else []
        assert before + after[len(in_hand) :] == gateway.log(end["position"])


class TestWatch:
    async def test_every_client_goes_on_where_it_was_when_the_gateway_was_killed(
        self, gateway: Gateway, api: Api
    ) -> None:
        later = (datetime.now(UTC) + timedelta(seconds=8)).isoformat()
        id = await api.send_one(send_at=later)
        calls = (("watch.mjs", id), ("gql_watch.py", id), ("apollo_send.mjs", "ada@example.com", later))
        async with AsyncExitStack() as stack:
            programs = [
                await stack.enter_async_context(recipe(*call, port=gateway.port, HELIOGRAPH_KEY=API_KEY))
                for call in (*calls, ("urql_send.mjs", "ada@example.com", later))
            ]
            for program in programs:
                assert "SCHEDULED" in await program.line()
            await gateway.kill()
            await gateway.start()
            socket, python, apollo, urql = [await program.rest() for program in programs]
        log = [(sequence, status) for _, notification, sequence, status in gateway.log() if notification == id]
        statuses = [status for _, status in log]
        assert statuses[0] == "SCHEDULED"
        assert statuses[-1] == "SENT"
        assert [(event["sequence"], event["status"]) for event in map(json.loads, socket[:-1])] == log
        assert [(sequence, status) for _, _, sequence, status in entries(python)] == log
        assert apollo == [*statuses, "complete"]
        assert urql[:-1] == statuses


class TestConnections:
    async def test_an_expired_token_is_replaced_and_nothing_is_missed(self, gateway: Gateway, api: Api) -> None:
        user = new_id(USER)
        tokens = Tokens(user)
        create = "mutation ($input: CreateUserInput!) { create_user(input: $input) { success } }"
        assert (await api.payload(create, input={"id": user, "email": "ada@example.com"}))["success"]
        async with tokens.serve(), recipe("signed_in.mjs", port=gateway.port, TOKEN_URL=tokens.url) as program:
            # Until its first event a feed without `after` has nothing to go on from.
            seen = [await self._first_event(api, program, user)]
            while tokens.given < 3:
                seen.append(await api.send_one(recipient={"user_id": user}))
                await api.until(seen[-1], "SENT")
            while [seen[-1], "SENT"] != await self._event(program):
                pass
            tokens.signed_out = True
            assert json.loads(await program.until("code")) == {"code": "signed out"}
        events = [json.loads(line) for line in program.said[:-1]]
        received = [(event["notification_id"], event["status"]) for event in events]
        _, first, sequence, _ = next(e for e in gateway.log() if (e[1], e[3]) == received[0])
        log = [e for e in gateway.log() if e[1] in seen and (e[1] != first or e[2] >= sequence)]
        assert received == [(notification, status) for _, notification, _, status in log]

    async def _first_event(self, api: Api, program: Program, user: str) -> str:
        """Send until the subscription has begun; the notification that it began with."""
        reading = asyncio.ensure_future(self._event(program))
        async with asyncio.timeout(DEADLINE):
            while not reading.done():
                await api.until(await api.send_one(recipient={"user_id": user}), "SENT")
        return str((await reading)[0])

    async def _event(self, program: Program) -> list[str]:
        event = await program.event()
        return [event["notification_id"], event["status"]]

    async def test_a_connection_that_died_in_silence_is_replaced(self, gateway: Gateway, api: Api) -> None:
        wire = Wire(gateway.port)
        await wire.start()
        later = (datetime.now(UTC) + timedelta(seconds=3)).isoformat()
        id = await api.send_one(send_at=later)
        try:
            async with recipe("watch.mjs", id, port=wire.port, options=HASTE, HELIOGRAPH_KEY=API_KEY) as program:
                await program.until("SCHEDULED")
                wire.hold_requests()
                wire.hold_answers()
                async with asyncio.timeout(DEADLINE):
                    while wire.made < 2:  # noqa: ASYNC110 - it is elsewhere
                        await asyncio.sleep(0.02)
                wire.let_go()
                *events, _ = map(json.loads, await program.rest())
        finally:
            await wire.stop()
        log = [(sequence, status) for _, notification, sequence, status in gateway.log() if notification == id]
        assert [(event["sequence"], event["status"]) for event in events] == log
