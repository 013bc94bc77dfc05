"""What the status store promises, on both engines: accept, take, claim, settle, record, read.

The traces are those of `docs/protocol.md`: each is a history that broke a promise when one rule was taken away.
"""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from domain.deliver import decide_not_to_send
from domain.errors import Conflict
from domain.events import Attempt, DeliveryItem, StatusChanged
from domain.notification import Channel, Outcome, Priority, Status
from domain.ports import LogFilter, Settlement
from domain.retry import RetryPolicy
from domain.template import Content
from domain.views import Receipt
from tests.contracts.gateway_store import ALL, LEASE, Store, cancelled, change, order, queued


class TestAccept:
    async def test_a_request_is_stored_with_its_first_log_entries(self, store: Store) -> None:
        receipt = await store.accept(count=3)
        assert (receipt.accepted, receipt.duplicate, receipt.request.total) == (3, False, 3)
        rows = await store.log.read(0, 10, ALL)
        assert [(row.sequence, row.status, row.previous_status) for row in rows] == [(1, Status.ACCEPTED, None)] * 3
        assert store.announced == rows
        stored = await store.queries.notification(receipt.notifications[0].id)
        assert stored == receipt.notifications[0]

    @pytest.mark.parametrize("test", [True, False])
    async def test_what_a_test_key_sent_is_known_by_readers_and_by_the_worker(self, store: Store, test: bool) -> None:
        receipt = await store.accept(test=test)
        (accepted,) = receipt.notifications
        assert accepted.test is test
        assert await store.queries.notification(accepted.id) == accepted
        (due,) = await store.take()
        claim = await store.claim(due.id, due.attempt)
        assert claim is not None
        assert claim.test is test

    async def test_the_same_request_id_and_input_is_answered_the_same(self, store: Store) -> None:
        first = await store.accept(request_id="r", count=2)
        second = await store.accept(request_id="r", count=2)
        assert second.duplicate
        assert [one.id for one in second.notifications] == [one.id for one in first.notifications]
        assert len(await store.log.read(0, 10, ALL)) == 2

    async def test_the_same_request_id_with_another_input_conflicts(self, store: Store) -> None:
        await store.accept(request_id="r")
        with pytest.raises(Conflict) as caught:
            await store.accept(request_id="r", fingerprint="other")
        assert caught.value.request_id == "r"

    async def test_request_ids_belong_to_their_client(self, store: Store) -> None:
        await store.accept(request_id="r")
        other = await store.accept(request_id="r", client="other", fingerprint="other")
        assert not other.duplicate

    async def test_concurrent_twins_are_one_and_neighbours_are_not_harmed(self, store: Store) -> None:
        orders = [store.accept(request_id="twin") for _ in range(20)]
        orders += [store.accept(request_id="twin", fingerprint="other"), *(store.accept() for _ in range(20))]
        answers = await asyncio.gather(*orders, return_exceptions=True)
        twins = [answer for answer in answers[:20] if isinstance(answer, Receipt)]
        conflicts = [answer for answer in answers if isinstance(answer, Conflict)]
        assert len({twin.notifications[0].id for twin in twins}) <= 1
        assert [twin.duplicate for twin in twins].count(False) <= 1
        assert len(conflicts) in (1, 20)  # whoever came first decides which input it is
        assert all(isinstance(answer, Receipt) for answer in answers[21:])
        assert len(await store.log.read(0, 100, ALL)) == 21

    async def test_an_order_that_the_database_refuses_fails_alone(self, store: Store) -> None:
        bad = order(request_id="x" * 300)
        answers = await asyncio.gather(
            store.accept(), store.requests.accept(bad), store.accept(), return_exceptions=True
        )
        good = [answer for answer in answers if isinstance(answer, Receipt)]
        refused = store.database.dialect == "postgres"  # SQLite has no limit to break
        assert len(good) == (2 if refused else 3)

    async def test_skipped_is_final_at_once(self, store: Store) -> None:
        receipt = await store.accept(status=Status.SKIPPED)
        assert receipt.accepted == 0
        assert receipt.request.finished
        assert await store.take() == []

    async def test_a_scheduled_notification_is_not_due_before_its_time(self, store: Store) -> None:
        id = await store.accepted(status=Status.SCHEDULED, send_at=datetime.now(UTC) + timedelta(hours=1))
        assert await store.take() == []
        await store.make_due(id)
        assert [due.id for due in await store.take()] == [id]


class TestTake:
    async def test_taking_moves_the_clock_so_that_nobody_takes_twice(self, store: Store) -> None:
        ids = {await store.accepted() for _ in range(5)}
        assert {due.id for due in await store.take()} == ids
        assert await store.take() == []

    async def test_concurrent_takers_share(self, store: Store) -> None:
        await store.accept(count=200)
        shares = await asyncio.gather(*(store.take(50) for _ in range(8)))
        taken = [due.id for share in shares for due in share]
        assert len(taken) == len(set(taken)) == 200

    async def test_critical_goes_first_and_bulk_last(self, store: Store) -> None:
        bulk = await store.accepted(priority=Priority.BULK)
        normal = await store.accepted()
        critical = await store.accepted(priority=Priority.CRITICAL)
        assert [(await store.take(1))[0].id for _ in range(3)] == [critical, normal, bulk]

    async def test_what_could_not_be_published_is_due_again(self, store: Store) -> None:
        id = await store.accepted()
        await store.outbox.give_back(await store.take())
        assert [due.id for due in await store.take()] == [id]

    async def test_giving_back_never_touches_a_clock_that_somebody_else_set(self, store: Store) -> None:
        id = await store.accepted()
        taken = await store.take()
        assert await store.claim(id, 0) is not None
        await store.outbox.give_back(taken)
        assert await store.take() == []

    async def test_an_empty_queue_brings_back_what_was_published(self, store: Store) -> None:
        id = await store.accepted()
        claimed = await store.accepted()
        await store.take()
        assert await store.claim(claimed, 0) is not None
        assert await store.outbox.expedite(Channel.EMAIL) == 1
        assert [due.id for due in await store.take()] == [id]

    async def test_a_process_that_is_alone_takes_over_all_claims(self, store: Store) -> None:
        id = await store.accepted()
        await store.take()
        assert await store.claim(id, 0) is not None
        assert await store.outbox.expedite(Channel.EMAIL, revoke=True) == 1
        (due,) = await store.take()
        assert due.revoked


class TestClaim:
    async def test_a_claim_brings_what_delivery_needs(self, store: Store) -> None:
        id = await store.accepted()
        await store.take()
        claim = await store.claim(id, 0)
        assert claim is not None
        assert (claim.attempt, claim.attempts_used, claim.status) == (1, 0, Status.ACCEPTED)
        assert claim.variables == {"shared": True, "n": 0}
        assert claim.content == Content(subject="Hello", text="World")
        assert claim.recipient.email == "user0@example.com"
        assert timedelta(0) < claim.lease_until - claim.claimed_at <= timedelta(seconds=LEASE + 1)

    async def test_one_attempt_is_claimed_once(self, store: Store) -> None:
        id = await store.accepted()
        await store.take()
        claims = await asyncio.gather(*(store.claim(id, 0) for _ in range(10)))
        assert sum(claim is not None for claim in claims) == 1

    async def test_a_list_is_claimed_item_by_item(self, store: Store) -> None:
        receipt = await store.accept(count=5)
        ids = [one.id for one in receipt.notifications]
        await store.claim(ids[2], 0)
        claims = await store.claims.claim([DeliveryItem(id, 0) for id in [*ids, "ntf_unknown", ids[0]]], LEASE)
        assert sorted(claim.id for claim in claims) == sorted({*ids} - {ids[2]})

    async def test_a_released_claim_is_due_again_and_uses_no_attempt(self, store: Store) -> None:
        id = await store.accepted()
        await store.take()
        claim = await store.claim(id, 0)
        assert claim is not None
        await store.claims.release([(claim.id, claim.token)])
        (due,) = await store.take()
        assert (due.attempt, due.revoked) == (1, False)
        again = await store.claim(id, 1)
        assert again is not None
        assert (again.attempts_used, again.uncertain) == (0, False)


class TestTraces:
    async def test_1_a_crashed_worker_is_recovered(self, store: Store) -> None:
        id = await store.accepted()
        await store.take()
        assert await store.claim(id, 0) is not None
        await store.make_due(id)
        (due,) = await store.take()
        assert (due.revoked, due.attempt) == (True, 1)
        claim = await store.claim(id, 1)
        assert claim is not None
        assert (claim.attempts_used, claim.uncertain) == (1, True)
        (attempt,) = (await store.queries.attempts([id]))[id]
        assert (attempt.outcome, attempt.number) == (Outcome.UNKNOWN, 1)
        view = await store.queries.notification(id)
        assert view is not None
        assert view.possible_duplicate

    async def test_2_a_settled_claim_is_reported_again_and_never_sent_again(self, store: Store) -> None:
        id = await store.accepted()
        await store.take()
        claim = await store.claim(id, 0)
        assert claim is not None
        sent = change(claim, Status.SENT, provider="smtp")
        await store.claims.settle([Settlement(id=id, token=claim.token, changes=(sent,))])
        await store.make_due(id)
        (due,) = await store.take()
        assert due.settled == (sent,)
        assert not due.revoked
        assert await store.claim(id, 1) is None
        assert await store.record(*due.settled) == []
        assert await store.status_of(id) is Status.SENT

    async def test_3_cancel_is_too_late_once_claimed_or_uncertain(self, store: Store) -> None:
        id = await store.accepted()
        await store.take()
        claim = await store.claim(id, 0)
        assert claim is not None
        assert await store.record(cancelled(id)) == ["an attempt is under way or its outcome is unknown"]
        await store.make_due(id)
        await store.take()
        assert await store.record(cancelled(id)) == ["an attempt is under way or its outcome is unknown"]
        assert await store.record(change(claim, Status.SENT)) == []

    async def test_4_a_late_queued_never_raises_the_dead(self, store: Store) -> None:
        id = await store.accepted()
        (due,) = await store.take()
        claim = await store.claim(id, 0)
        assert claim is not None
        await store.record(change(claim, Status.SENDING), change(claim, Status.FAILED, reason="no"))
        assert await store.record(queued(due)) == ["FAILED is not followed by QUEUED"]
        assert await store.status_of(id) is Status.FAILED

    async def test_5_a_redelivered_report_does_not_touch_the_next_attempt(self, store: Store) -> None:
        id = await store.accepted()
        await store.take()
        first = await store.claim(id, 0)
        assert first is not None
        retrying = change(first, Status.RETRYING, retry_at=first.claimed_at - timedelta(seconds=1), uses_attempt=True)
        report = [change(first, Status.SENDING), retrying]
        assert await store.record(*report) == []
        (due,) = await store.take()
        second = await store.claim(id, due.attempt)
        assert second is not None
        assert await store.record(*report) == ["stale claim", "stale claim"]
        assert await store.record(change(second, Status.SENT)) == []
        assert second.attempts_used == 1

    async def test_6_an_old_copy_cannot_be_claimed_before_its_retry(self, store: Store) -> None:
        id = await store.accepted()
        await store.take()
        claim = await store.claim(id, 0)
        assert claim is not None
        later = claim.claimed_at + timedelta(hours=1)
        await store.record(change(claim, Status.SENDING), change(claim, Status.RETRYING, retry_at=later))
        assert await store.claim(id, 0) is None
        assert await store.take() == []

    async def test_7_attempts_that_nobody_reported_are_used_up_and_somebody_says_so(self, store: Store) -> None:
        id, policy = await store.accepted(), RetryPolicy(schedule=(1.0, 1.0))
        await store.take()
        for attempt in range(policy.max_attempts):
            assert await store.claim(id, attempt) is not None
            await store.make_due(id)
            await store.take()
        last = await store.claim(id, policy.max_attempts)
        assert last is not None
        refusal = decide_not_to_send(last, policy, last.claimed_at)
        assert refusal is not None
        assert await store.record(refusal) == []
        assert await store.status_of(id) is Status.FAILED

    async def test_8_a_cancelled_row_has_no_clock(self, store: Store) -> None:
        id = await store.accepted()
        taken = await store.take()
        assert await store.record(cancelled(id)) == []
        await store.outbox.give_back(taken)
        assert await store.take() == []

    async def test_9_two_recorders_agree_on_one_ending(self, store: Store) -> None:
        id = await store.accepted()
        (due,) = await store.take()
        claim = await store.claim(id, 0)
        assert claim is not None
        await asyncio.gather(*(store.record(queued(due), cancelled(id), change(claim, Status.SENT)) for _ in range(10)))
        assert await store.status_of(id) is Status.SENT

    async def test_10_a_bounce_may_beat_our_own_sent(self, store: Store) -> None:
        id = await store.accepted()
        await store.take()
        claim = await store.claim(id, 0)
        assert claim is not None
        bounced = StatusChanged(notification_id=id, status=Status.BOUNCED, occurred_at=claim.claimed_at)
        assert await store.record(bounced) == []
        assert await store.record(change(claim, Status.SENT)) == ["BOUNCED is not followed by SENT"]
        assert await store.status_of(id) is Status.BOUNCED

    async def test_11_only_the_holder_of_the_claim_may_say_expired(self, store: Store) -> None:
        id = await store.accepted()
        await store.take()
        expired = StatusChanged(notification_id=id, status=Status.EXPIRED, occurred_at=datetime.now(UTC))
        assert await store.record(expired) == ["stale claim"]


class TestRecord:
    async def test_attempts_and_the_dead_letter_come_with_the_ending(self, store: Store) -> None:
        id = await store.accepted()
        await store.take()
        claim = await store.claim(id, 0)
        assert claim is not None
        attempt = Attempt(
            number=1,
            provider="smtp",
            outcome=Outcome.PERMANENT,
            started_at=claim.claimed_at,
            duration_ms=7,
            code="5.1.1",
        )
        failed = change(claim, Status.FAILED, reason="no such mailbox", attempts=[attempt], uses_attempt=True)
        await store.record(change(claim, Status.SENDING), failed)
        assert (await store.queries.attempts([id]))[id] == [attempt]
        letters = await store.database.query("SELECT * FROM dead_letters")
        assert [(letter["notification_id"], letter["reason"], letter["attempts"]) for letter in letters] == [
            (id, "no such mailbox", 1)
        ]

    async def test_a_replayed_notification_starts_again(self, store: Store) -> None:
        id = await store.accepted()
        await store.take()
        claim = await store.claim(id, 0)
        assert claim is not None
        await store.record(change(claim, Status.SENDING), change(claim, Status.FAILED, reason="no", uses_attempt=True))
        replay = StatusChanged(notification_id=id, status=Status.QUEUED, occurred_at=claim.claimed_at, replay=True)
        assert await store.record(replay) == []
        assert await store.record(replay) == ["QUEUED is not replayed"]
        (due,) = await store.take()
        again = await store.claim(id, due.attempt)
        assert again is not None
        assert (again.attempt, again.attempts_used) == (2, 0)

    async def test_a_retry_leaves_out_who_was_refused_for_good_and_a_replay_asks_them_again(self, store: Store) -> None:
        id = await store.accepted()
        await store.take()
        claim = await store.claim(id, 0)
        assert claim is not None
        assert claim.refused_devices == frozenset()
        attempt = Attempt(
            number=1,
            provider="fcm",
            outcome=Outcome.PERMANENT,
            started_at=claim.claimed_at,
            duration_ms=7,
            device_id="dev_1",
        )
        await store.record(change(claim, Status.RETRYING, attempts=[attempt], retry_at=claim.claimed_at))
        (due,) = await store.take()
        claim = await store.claim(id, due.attempt)
        assert claim is not None
        assert claim.refused_devices == {"dev_1"}
        await store.record(change(claim, Status.FAILED))
        await store.record(
            StatusChanged(notification_id=id, status=Status.QUEUED, occurred_at=claim.claimed_at, replay=True)
        )
        (due,) = await store.take()
        claim = await store.claim(id, due.attempt)
        assert claim is not None
        assert claim.refused_devices == frozenset()

    async def test_concurrent_writers_leave_the_log_dense(self, store: Store) -> None:
        receipt = await store.accept(count=60)
        dues = await store.take()
        ids = [one.id for one in receipt.notifications]
        await asyncio.gather(
            *(store.record(*(queued(due) for due in dues[start : start + 20])) for start in range(0, 60, 10)),
            *(store.record(cancelled(id)) for id in ids[::3]),
            *(store.accept(count=3) for _ in range(10)),
        )
        await store.check_invariants()

    async def test_the_log_is_read_by_filter_and_position(self, store: Store) -> None:
        one, two = await store.accept(count=2), await store.accept()
        await store.record(cancelled(two.notifications[0].id))
        by_request = await store.log.read(0, 10, LogFilter(request=one.request.id))
        assert [row.position for row in by_request] == [1, 2]
        by_status = await store.log.read(0, 10, LogFilter(status=frozenset({Status.CANCELLED})))
        assert [row.notification_id for row in by_status] == [two.notifications[0].id]
        assert [row.position for row in await store.log.read(1, 2, ALL, until=3)] == [2, 3]
