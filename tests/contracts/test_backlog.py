"""What waits, as operators see it, on both engines."""

from datetime import UTC, datetime, timedelta

import pytest

from api.gateway.backlog import SqlBacklog, Waiting
from api.gateway.dialect import dialect_of
from domain.notification import Channel, Priority, Status
from tests.contracts.gateway_store import Store, queued


@pytest.fixture
def backlog(store: Store) -> SqlBacklog:
    return SqlBacklog(store.database)


async def aged(store: Store, seconds: float, column: str = "next_at") -> None:
    """Let this be so long ago for everything."""
    ago = dialect_of(store.database.dialect).after(f"-{seconds}")
    await store.database.query(f"UPDATE notifications SET {column} = {ago}", [])


async def test_nothing_waits_where_there_is_nothing(backlog: SqlBacklog) -> None:
    assert await backlog.of(Channel.EMAIL) == Waiting(0, 0.0)


async def test_what_is_due_waits_since_then_whatever_its_priority(store: Store, backlog: SqlBacklog) -> None:
    for priority in Priority:
        await store.accepted(priority=priority)
    await aged(store, 90)
    waiting = await backlog.of(Channel.EMAIL)
    assert waiting.due == len(Priority)
    assert waiting.lag_seconds == pytest.approx(90, abs=30)
    assert await backlog.of(Channel.PUSH) == Waiting(0, 0.0)


async def test_what_is_published_and_in_nobodys_hands_waits_since_it_was_queued(
    store: Store, backlog: SqlBacklog
) -> None:
    await store.accepted()
    (due,) = await store.take()
    assert await store.record(queued(due)) == []
    await aged(store, 40, "updated_at")
    waiting = await backlog.of(Channel.EMAIL)
    assert waiting.due == 0
    assert waiting.lag_seconds == pytest.approx(40, abs=30)


async def test_what_a_worker_has_does_not_wait(store: Store, backlog: SqlBacklog) -> None:
    await store.attempted()
    await aged(store, 40, "updated_at")
    assert await backlog.of(Channel.EMAIL) == Waiting(0, 0.0)


async def test_what_is_finished_or_has_its_time_ahead_does_not_wait(store: Store, backlog: SqlBacklog) -> None:
    await store.sent()
    later = datetime.now(UTC) + timedelta(hours=1)
    await store.accepted(status=Status.SCHEDULED, send_at=later)
    await aged(store, 40, "updated_at")
    assert await backlog.of(Channel.EMAIL) == Waiting(0, 0.0)
