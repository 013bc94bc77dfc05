"""What retention removes and what it leaves, on both engines."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from api.gateway.feed import Follower
from api.gateway.suppressions import BOUNCED_OFTEN
from domain.callbacks import Callback, CallbackKind
from domain.errors import Conflict, CursorExpired
from domain.events import Attempt
from domain.notification import Channel, Outcome, Status
from domain.ports import Claim, DeadMessage, LogFilter
from domain.recipient import Recipient
from tests.contracts.gateway_store import ALL, Store, cancelled, change
from tests.contracts.retention_world import cancelled_requests, failed, horizon, left, remove, retention
from tests.unit.feed_fakes import FakeBell

LATER = timedelta(days=91)
ADA = Recipient(email="ada@example.com")


async def sent_with_everything(store: Store) -> str:
    """A notification with an attempt and a confirmation."""
    claim = await store.attempted()
    await store.record(change(claim, Status.SENT, provider="smtp", attempts=[attempt(claim)]))
    await store.callbacks.record([said(claim.id, CallbackKind.DELIVERED)])
    return claim.id


def attempt(claim: Claim) -> Attempt:
    return Attempt(number=1, provider="smtp", outcome=Outcome.ACCEPTED, started_at=claim.claimed_at, duration_ms=1)


def said(id: str, kind: CallbackKind) -> Callback:
    return Callback(notification_id=id, kind=kind, occurred_at=datetime.now(UTC), provider="sendgrid")


class TestWhatGoes:
    async def test_a_finished_request_goes_with_all_that_hangs_on_it(self, store: Store) -> None:
        id = await sent_with_everything(store)
        assert await left(store) == {
            "requests": 1, "notifications": 1, "status_log": 3, "attempts": 1, "callbacks": 1
        }  # fmt: skip
        assert await remove(store, LATER) == {
            "requests": 1, "notifications": 1, "status_log": 3, "attempts": 1, "callbacks": 1
        }  # fmt: skip
        assert await left(store) == {}
        assert await store.queries.notification(id) is None
        assert await horizon(store) == 3

    async def test_before_its_time_nothing_goes(self, store: Store) -> None:
        await sent_with_everything(store)
        assert await remove(store, timedelta(days=89)) == {}
        assert await horizon(store) == 0

    async def test_its_time_counts_from_its_last_change(self, store: Store) -> None:
        early = await store.sent()
        await store.database.query(
            "UPDATE notifications SET updated_at = $1 WHERE id = $2",
            [store.database.db_time(datetime.now(UTC) + timedelta(days=2)), early],
        )
        assert await remove(store, LATER) == {}
        assert await remove(store, timedelta(days=93)) != {}

    @pytest.mark.parametrize("days", [0, 90])
    async def test_0_days_are_for_ever(self, store: Store, days: int) -> None:
        await store.sent()
        await failed(store)
        removed = await remove(store, timedelta(days=30_000), days=days, dead_letter_days=90 - days)
        assert removed.keys() == (
            {"requests", "notifications", "status_log"} if days else {"dead_letters"}
        )  # its dead letter keeps the other one

    async def test_a_request_that_is_gone_may_be_sent_again_under_its_id(self, store: Store) -> None:
        first = await store.sent(request_id="order-1")
        assert (await store.accept(request_id="order-1")).duplicate
        with pytest.raises(Conflict):
            await store.accept(request_id="order-1", fingerprint="another")
        await remove(store, LATER)
        again = await store.accept(request_id="order-1", fingerprint="another")
        assert not again.duplicate
        assert again.notifications[0].id != first


class TestWhatStays:
    async def test_a_request_of_which_one_is_not_finished_stays_whole(self, store: Store) -> None:
        receipt = await store.accept(count=3)
        for view in receipt.notifications[:2]:
            await store.record(cancelled(view.id))
        assert await remove(store, LATER) == {}
        request = await store.queries.request_by_id(receipt.request.id)
        assert request is not None
        assert request.counts == {Status.CANCELLED: 2, Status.ACCEPTED: 1}
        await store.record(cancelled(receipt.notifications[2].id))
        assert (await remove(store, LATER))["notifications"] == 3

    async def test_what_is_kept_keeps_its_whole_log_below_the_horizon(self, store: Store) -> None:
        kept = await store.attempted()
        await store.record(change(kept, Status.SENDING))
        gone = await store.sent()
        assert (await remove(store, LATER))["notifications"] == 1
        assert await horizon(store) == await store.log.head() == 4
        rows = await store.log.read(0, 100, LogFilter(notification_id=kept.id))
        assert [(row.sequence, row.status) for row in rows] == [(1, Status.ACCEPTED), (2, Status.SENDING)]
        assert [row.sequence for row in (await store.queries.timeline([kept.id]))[kept.id]] == [1, 2]
        with pytest.raises(CursorExpired):
            await store.log.read(0, 100, LogFilter(notification_id=gone))

    async def test_one_that_is_sent_a_year_ahead_holds_nobody_up(self, store: Store) -> None:
        due = datetime.now(UTC) + timedelta(days=365)
        ahead = await store.accepted(status=Status.SCHEDULED, send_at=due)
        await store.sent()
        await remove(store, LATER)
        assert await left(store) == {"requests": 1, "notifications": 1, "status_log": 1}
        assert await horizon(store) == 3
        await store.record(cancelled(ahead))
        assert [row.position for row in await store.log.read(3, 10, ALL)] == [4]

    async def test_suppressions_stay_and_old_bounces_in_a_row_are_forgotten(self, store: Store) -> None:
        for _ in range(3):
            await store.callbacks.record([said(await store.sent(recipient=ADA), CallbackKind.BOUNCED)])
        assert (await remove(store, LATER))["soft_bounces"] == 1
        assert await store.suppressions.among(Channel.EMAIL, ["ada@example.com"]) == {"ada@example.com": BOUNCED_OFTEN}

    async def test_bounces_that_still_count_are_not_forgotten(self, store: Store) -> None:
        await store.callbacks.record([said(await store.sent(recipient=ADA), CallbackKind.BOUNCED)])
        assert "soft_bounces" not in await remove(store, timedelta(days=3), days=1)


class TestDeadLetters:
    async def test_a_dead_letter_keeps_what_it_is_about_until_it_goes_itself(self, store: Store) -> None:
        claim = await failed(store)
        assert await remove(store, LATER, dead_letter_days=365) == {}
        assert await store.status_of(claim.id) is Status.FAILED
        assert await remove(store, timedelta(days=366), dead_letter_days=365) == {
            "requests": 1, "notifications": 1, "status_log": 2, "dead_letters": 1
        }  # fmt: skip

    async def test_one_that_goes_before_leaves_its_notification(self, store: Store) -> None:
        claim = await failed(store)
        assert await remove(store, timedelta(days=31), dead_letter_days=30) == {"dead_letters": 1}
        assert await store.status_of(claim.id) is Status.FAILED

    async def test_a_message_that_nobody_could_read_goes_in_its_time(self, store: Store) -> None:
        letter = DeadMessage(message_id="m1", queue="failed.queue", reason="no", body=b"{")
        await store.status.record_dead_letter(letter)
        assert await remove(store, timedelta(days=89)) == {}
        assert await remove(store, LATER) == {"dead_letters": 1}


class TestHorizon:
    async def test_the_log_is_dense_above_it_and_nobody_reads_across_it(self, store: Store) -> None:
        await cancelled_requests(store, 1, 1)
        await remove(store, LATER)
        await cancelled_requests(store, 1)
        with pytest.raises(CursorExpired):
            await store.log.read(3, 10, ALL)
        assert [row.position for row in await store.log.read(4, 10, ALL)] == [5, 6]

    async def test_it_stands_behind_the_last_entry_that_is_too_old(self, store: Store) -> None:
        await cancelled_requests(store, *[1] * 5)
        await store.database.query(
            "UPDATE status_log SET recorded_at = $1 WHERE position > 7",
            [store.database.db_time(datetime.now(UTC) + timedelta(days=10))],
        )
        await remove(store, LATER)
        assert await horizon(store) == 7
        # Of the one that has an entry on either side all is left.
        assert await left(store) == {"requests": 2, "notifications": 2, "status_log": 4}

    async def test_it_is_told_to_the_feed_and_to_operators(self, store: Store) -> None:
        await store.sent()
        metrics, feed = CollectorRegistry(), Follower(store.log, FakeBell())
        await retention(store, feed=feed, metrics=metrics).work_off(datetime.now(UTC) + LATER)
        assert feed.horizon == 2
        assert metrics.get_sample_value("heliograph_log_horizon_position") == 2
        rows = {"table": "status_log"}
        assert metrics.get_sample_value("heliograph_rows_removed_total", rows) == 2
