"""Processes killed (SIGKILL) in the middle of each step of the way, on the scaled-out and on the embedded system."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.e2e.api import CONTENT, SEND
from tests.faults.sink import Stage
from tests.faults.system import Held, Servers, System, embedded, scaled_out, until

HEAD = "SELECT position FROM status_log_head"
ROW = "SELECT id FROM notifications WHERE id = $1"


@pytest.fixture(scope="module")
async def system(private_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """A gateway (with its dispatcher), a relay and a worker; each test leaves them running."""
    async with scaled_out(private_servers, tmp_path_factory.mktemp("kills"), "gateway", "relay", "email") as running:
        yield running


async def hold_one_each(system: System) -> dict[Stage, Held]:
    """A mail at every stage."""
    held = await asyncio.gather(*(system.hold_one(stage) for stage in Stage))
    return dict(zip(Stage, held, strict=True))


async def check_twice_only_what_was_taken(system: System, held: Mapping[Stage, Held]) -> None:
    """All were sent; twice only what had been taken before the kill; each says that it may be a duplicate."""
    checked = await system.check()
    mails = system.sink.mails()
    seen = {stage: mails[one.id] for stage, one in held.items()}
    assert seen == {Stage.RECIPIENT: 1, Stage.MAIL: 1, Stage.ANSWER: 2}
    assert checked.flagged == checked.duplicates
    for one in held.values():
        row = await system.row(one.id)
        assert (row["status"], bool(row["possible_duplicate"])) == ("SENT", True)
        assert await system.unknown_attempts(one.id) == 1


class TestWorker:
    @pytest.mark.parametrize("claimed", [True, False], ids=["claimed all the same", "not claimed"])
    async def test_killed_while_it_claims(self, system: System, claimed: bool) -> None:
        system.freeze("email")
        id = await system.send("claim@example.com")
        await system.until_row(id, status="QUEUED")
        async with system.locked(ROW, id):
            system.thaw("email")
            backend = await system.until_waiting()
            system.kill("email")
            if not claimed:
                await system.disconnect(backend)
        await until(lambda: _is_done(system, backend))
        await system.end_lease(id)
        await system.start("email")

        await system.check_sent_once([id])
        # The server may go on without its client: then the claim is nobody's, until its lease ends.
        assert await system.unknown_attempts(id) == claimed

    async def test_killed_between_the_claim_and_the_provider_s_answer(self, system: System) -> None:
        held = await hold_one_each(system)
        system.kill("email")
        for one in held.values():
            one.hold.drop()
        await system.start("email")

        await check_twice_only_what_was_taken(system, held)

    async def test_killed_between_the_outcome_and_its_report(self, system: System) -> None:
        one = await system.hold_one(Stage.ANSWER)
        system.wires["email"].hold_requests()
        one.hold.release()
        await system.until_settled(one.id)
        system.kill("email")
        await system.end_lease(one.id)
        await system.start("email")

        await system.check_sent_once([one.id])
        assert not (await system.row(one.id))["possible_duplicate"]
        assert (await system.history(one.id))[-1] == "SENT"


class TestDispatcher:
    async def test_killed_between_taking_and_publishing(self, system: System) -> None:
        system.wires["gateway"].hold_requests()
        id = await system.send("taken@example.com")
        await system.until_row(id, drives=1)
        system.kill("gateway")
        assert await system.history(id) == ["ACCEPTED"]
        await system.start("gateway")

        await system.check_sent_once([id])

    async def test_killed_between_publishing_and_the_confirm(self, system: System) -> None:
        system.wires["gateway"].hold_answers()
        id = await system.send("published@example.com")
        await system.until_row(id, status="SENT")
        system.kill("gateway")
        await system.start("gateway")

        await system.check_sent_once([id])


class TestRelay:
    async def test_killed_before_it_commits(self, system: System) -> None:
        one = await system.hold_one(Stage.ANSWER)
        async with system.locked(HEAD):
            one.hold.release()
            await system.until_waiting()
            system.kill("relay")
        await system.start("relay")

        await system.check_sent_once([one.id])

    async def test_killed_between_the_commit_and_the_acknowledgement(self, system: System) -> None:
        one = await system.hold_one(Stage.ANSWER)
        system.wires["relay"].hold_requests()
        one.hold.release()
        await system.until_row(one.id, status="SENT")
        history = await system.history(one.id)
        system.kill("relay")
        await system.start("relay")
        await system.send("after@example.com")  # what came again was recorded before this one

        await system.check_sent_once([one.id])
        assert await system.history(one.id) == history


class TestGateway:
    @pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "not accepted"])
    async def test_killed_in_the_middle_of_a_request(self, system: System, accepted: bool) -> None:
        given: dict[str, Any] = {
            "request_id": uuid4().hex,
            "recipient": {"email": "half@example.com"},
            "channels": ["EMAIL"],
            "content": CONTENT,
        }
        async with system.locked(HEAD):
            asking = asyncio.ensure_future(system.api().payload(SEND, input=given))
            backend = await system.until_waiting()
            system.kill("gateway")
            if not accepted:
                await system.disconnect(backend)
        with pytest.raises(httpx.TransportError):
            await asking
        await until(lambda: _is_done(system, backend))
        # All of it is there, or nothing: the request, its notification, the first entry of the log.
        assert await _parts_of(system, given["request_id"]) == [int(accepted)] * 3
        await system.start("gateway")

        receipt = await system.api().send(**given)
        assert receipt["duplicate"] is accepted
        assert await _parts_of(system, given["request_id"]) == [1, 1, 1]
        await system.check_sent_once([receipt["notifications"][0]["id"]])


async def _is_done(system: System, backend: int) -> bool:
    """Whether the server is done with what its dead client had asked for."""
    return not await system.query(f"SELECT 1 FROM pg_stat_activity WHERE pid = {backend} AND state = 'active'")


async def _parts_of(system: System, request_id: str) -> list[int]:
    tables = ("requests", "notifications", "status_log WHERE sequence = 1 AND")
    queries = [f"SELECT count(*) AS n FROM {t if 'WHERE' in t else t + ' WHERE'} request_id = $1" for t in tables]
    return [int((await system.query(sql, request_id))[0]["n"]) for sql in queries]


class TestEmbedded:
    async def test_killed_with_mails_in_hand_it_takes_up_where_it_was(self, tmp_path: Path) -> None:
        async with embedded(tmp_path) as system:
            await system.start("up")
            held = await hold_one_each(system)
            system.kill("up")
            for one in held.values():
                one.hold.drop()
            await system.start("up")

            await check_twice_only_what_was_taken(system, held)
