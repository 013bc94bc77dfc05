"""`heliograph top` against the contract's `system` and `system_status`."""

import asyncio
import json
from typing import Any

import pytest

from tests.services.command_line import heliograph, on_a_terminal
from tests.services.gateway_fakes import KEY
from tests.services.socket_client import until
from tests.services.system_fake import SystemFake

INSTANCE = {
    "id": "ins_1",
    "url": None,
    "version": "0.1.0",
    "started_at": "2030-01-31T09:00:00Z",
    "last_seen_at": "2030-01-31T12:00:05.250000Z",
    "status": "ok",
}
SYSTEM: dict[str, Any] = {
    "queues": [
        {
            "name": "email.queue",
            "depth": 12345,
            "waiting": 700,
            "consumers": 2,
            "publish_rate": 50.25,
            "deliver_rate": 1048.0,
            "lag_seconds": 3.5,
        }
    ],
    "providers": [
        {"name": "smtp", "channel": "EMAIL", "breaker": "HALF_OPEN", "success_rate": 0.9876, "p95_ms": 12.4},
        {"name": "fcm", "channel": "PUSH", "breaker": "CLOSED", "success_rate": None, "p95_ms": None},
    ],
    "services": [
        {"name": "gateway", "status": "ok", "instances": [INSTANCE]},
        {"name": "users\x1b[2J", "status": "down", "instances": []},
    ],
}


@pytest.fixture
def fake() -> SystemFake:
    """A system with something of everything in it."""
    return SystemFake(SYSTEM, KEY)


@pytest.mark.parametrize("words", [(), ("--once",)])
async def test_what_is_no_terminal_gets_how_it_is_now(fake: SystemFake, words: tuple[str, ...]) -> None:
    async with fake.served() as url:
        done = await heliograph("top", *words, url=url)
    assert (done.status, done.err) == (0, "")
    rows = [line.split() for line in done.out.splitlines() if line]
    assert rows[1] == ["email.queue", "700", "12,345", "2", "50.2", "1,048.0", "3.5", "s"]
    assert ["smtp", "EMAIL", "HALF_OPEN", "98.8%", "12", "ms"] in rows
    assert ["fcm", "PUSH", "CLOSED", "-", "-"] in rows
    assert ["gateway", "ok", "ins_1", "0.1.0", "2030-01-31", "09:00:00", "2030-01-31", "12:00:05"] in rows
    assert ["users?[2J", "down", "none"] in rows


async def test_programs_get_it_as_json(fake: SystemFake) -> None:
    async with fake.served() as url:
        done = await heliograph("top", "--json", url=url)
    assert json.loads(done.out) == SYSTEM


async def test_on_a_terminal_it_is_drawn_anew_at_the_interval(fake: SystemFake) -> None:
    async with fake.served() as url:
        words = ("top", "--interval", "0.25")
        seen = asyncio.create_task(on_a_terminal(*words, url=url, shown=lambda text: "77,777" in text))
        await until(lambda: bool(fake.intervals))
        queue = {**SYSTEM["queues"][0], "depth": 77777}
        fake.system = {**SYSTEM, "queues": [queue]}
        fake.changed.set()
        text = await seen
    assert fake.intervals == [250]
    assert "12,345" in text


async def test_what_the_gateway_refuses_is_one_line(fake: SystemFake) -> None:
    async with fake.served() as url:
        done = await heliograph("top", url=url, key="hg_wrong")
    assert (done.status, done.out) == (1, "")
    assert done.err == "heliograph: This API key is unknown or revoked.\n"
