"""Thousands of callers that hang up in the middle, and documents that fail half-way: the gateway goes on as before."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.e2e.api import CONTENT, NOTIFICATION, SEND
from tests.faults.system import System, embedded
from tests.servers.roles import API_KEY

ABORTED, AT_ONCE, AFTERWARDS = 3000, 60, 50
FAILING_SIBLINGS = """query ($id: ID!) {
  a: notification(id: $id) { data { status timeline { status } attempts { outcome } } }
  b: notifications { data { id timeline { status } } }
  broken: notifications_connection(after: "no cursor of ours") { edges { node { id } } }
  c: notifications(filter: {status: SENT}) { data { id attempts { outcome } } } }"""


@pytest.fixture(params=["SQLite", "PostgreSQL"])
async def system(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[System]:
    """`heliograph up` on each engine."""
    url = ""
    if request.param == "PostgreSQL":
        make: Callable[[], str] = request.getfixturevalue("postgres_database")
        url = make()
    async with embedded(tmp_path, url) as running:
        await running.start("up")
        yield running


def requests(id: str) -> Iterator[bytes]:
    """Requests without end, by turns: a mail to send, a notification to read, a document that fails half-way."""
    for number in count():
        mail = {"recipient": {"email": f"p{number}@example.com"}, "channels": ["EMAIL"], "content": CONTENT}
        yield request(SEND, input=mail)
        yield request(NOTIFICATION, id=id)
        yield request(FAILING_SIBLINGS, id=id)


def request(query: str, **variables: Any) -> bytes:
    body = json.dumps({"query": query, "variables": variables}).encode()
    head = [
        "POST /graphql HTTP/1.1",
        "host: localhost",
        f"authorization: Bearer {API_KEY}",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


async def abort(port: int, whole: bytes, chance: Random) -> str:
    """Ask, and hang up: in the middle of the request, at once after it, a moment later, or at the first byte of the
    answer. How far it got."""
    how = chance.choice(["mid-request", "at once", "a moment later", "mid-answer"])
    cut = chance.randrange(1, len(whole)) if how == "mid-request" else len(whole)
    pause = chance.random() * 0.02
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(whole[:cut])
    await writer.drain()
    if how == "a moment later":
        await asyncio.sleep(pause)
    if how == "mid-answer":
        assert await reader.read(1) == b"H"
    writer.transport.abort()
    return how


async def storm(port: int, id: str) -> Counter[str]:
    """Many at a time; how they went."""
    chance, waiting = Random(7), requests(id)
    left = iter(range(ABORTED))
    seen: Counter[str] = Counter()

    async def caller() -> None:
        for _ in left:
            seen[await abort(port, next(waiting), chance)] += 1

    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return seen


async def test_callers_that_hang_up_leave_nothing_behind(system: System) -> None:
    id = await system.send("first@example.com")
    async with asyncio.timeout(60):
        seen = await storm(system.process("up").port, id)
    assert seen.total() == ABORTED
    assert len(seen) == 4
    await check_it_goes_on(system)


async def test_fields_that_fail_take_no_connection_with_their_siblings(system: System) -> None:
    id = await system.send("first@example.com")
    api = system.api()
    for _ in range(20):  # a few at a time: each of them cancels what its siblings have begun
        answers = await asyncio.gather(*(api.call(FAILING_SIBLINGS, id=id) for _ in range(10)))
        assert all(answer["data"] is None and answer["errors"][0]["path"] == ["broken"] for answer in answers)
    await check_it_goes_on(system)


async def check_it_goes_on(system: System) -> None:
    """As many callers at once as ever are answered, what they send arrives once, and everything holds."""
    async with asyncio.timeout(30):
        ids = await system.send_many(AFTERWARDS)
        found = await asyncio.gather(*(system.api().notification(id) for id in ids))
    assert [each["id"] for each in found] == ids
    await system.check_sent_once(ids)
    assert "Traceback" not in system.process("up").log_text()
