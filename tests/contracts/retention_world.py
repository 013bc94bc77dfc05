"""A gateway database in which time passes at will, for the suites that test what is removed."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from api.gateway.removal_round import Kept
from api.gateway.retention import Retention
from domain.notification import Status
from domain.ports import Claim
from tests.contracts.gateway_store import Store, cancelled, change

TABLES = ("requests", "notifications", "status_log", "attempts", "callbacks", "dead_letters", "removals")


def retention(store: Store, days: int = 90, dead_letter_days: int = 90, **more: Any) -> Retention:
    """It does not pause, and a round is always due."""
    return Retention(store.database, Kept.of_days(days, dead_letter_days), **{"interval": 0.0, "share": 1.0, **more})


async def remove(store: Store, later: timedelta, days: int = 90, dead_letter_days: int = 90) -> Counter[str]:
    """One round, when so much time has passed; what it removed."""
    removed = await retention(store, days, dead_letter_days).work_off(datetime.now(UTC) + later)
    return Counter({table: count for table, count in removed.items() if count})


async def left(store: Store) -> Mapping[str, int]:
    """How many rows there are, of the tables that have any."""
    counts = {}
    for table in TABLES:
        counts[table] = (await store.database.query(f"SELECT count(*) AS n FROM {table}"))[0]["n"]
    return {table: count for table, count in counts.items() if count}


async def horizon(store: Store) -> int:
    return int((await store.database.query("SELECT horizon FROM retention"))[0]["horizon"])


async def failed(store: Store) -> Claim:
    """A notification that was given up on."""
    claim = await store.attempted()
    assert await store.record(change(claim, Status.FAILED, reason="no")) == []
    return claim


async def cancelled_requests(store: Store, *sizes: int) -> None:
    """So many requests, each of that many notifications that were cancelled."""
    for size in sizes:
        receipt = await store.accept(count=size)
        ids = await store.notifications_of(receipt.request.id)
        assert await store.record(*map(cancelled, ids)) == []
