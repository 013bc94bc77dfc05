"""Every port fails at random, before the call or after it: still everything ends once, and nothing is hidden."""

import asyncio
from pathlib import Path

import pytest

from domain.notification import Channel, Status
from domain.retry import RetryPolicy
from tests.faults.providers import Deliveries, check_path, mail_sender, migrated, running
from tests.faults.unreliable import Chance, UnreliableProvider
from tests.services.worker_world import PATIENCE
from workers.consumer import WorkerSettings

WAVES, OF = 120, 2
"""Many small sets make many calls."""
PATIENT = RetryPolicy(schedule=(0.01,) * 40, jitter=0.0)
SETTINGS = WorkerSettings(concurrency=20)
HOURS_LATER = "UPDATE notifications SET next_at = '2000-01-01 00:00:00.000000+00:00' WHERE next_at IS NOT NULL"
UNFINISHED = "SELECT id FROM notifications WHERE next_at IS NOT NULL"
MET = {
    *("claim refused", "claim unheard", "settle refused", "settle unheard"),
    *("take_due refused", "take_due unheard", "record refused", "record unheard"),
    *("publish cut off", "publish unconfirmed", "ack lost"),
    *("provider away", "provider unheard", "provider raised"),
}


async def let_it_end(path: Deliveries) -> None:
    """Wait until all have ended. Whenever nothing is in hand time passes: leases end, and what was lost comes again.

    Should a claim come in between, its lease is overrun: that is one more thing that must be survived.
    """
    async with asyncio.timeout(3 * PATIENCE):
        while await path.database.query(UNFINISHED):
            await asyncio.sleep(0.1)
            if not any(worker.in_hand for worker in path.workers):
                await path.database.query(HOURS_LATER)


@pytest.mark.parametrize("seed", range(4))
async def test_everything_is_sent_and_what_was_sent_twice_says_so(tmp_path: Path, seed: int) -> None:
    chance = Chance(seed, rate=0.2)
    provider = UnreliableProvider(chance)
    url = f"sqlite://{tmp_path}/gateway.db"
    async with migrated(url) as databases:
        senders = {Channel.EMAIL: mail_sender(provider)}
        path = Deliveries(url, databases, senders, wrap=chance.around, policy=PATIENT, settings=SETTINGS)
        async with running(path):
            ids = [id for _ in range(WAVES) for id in await path.accept_on(Channel.EMAIL, OF)]
            await let_it_end(path)
            chance.calm = True
        checked = await check_path(path, provider.taken)
    assert checked.statuses == {Status.SENT: len(ids)}
    assert provider.taken.keys() == set(ids)
    assert checked.duplicates == checked.flagged
    assert checked.duplicates <= checked.unknown
    assert {fault for fault in MET if not chance.met[fault]} == set(), "each of these was survived"
