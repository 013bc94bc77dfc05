"""Dispatcher, worker and relay together: from an accepted row to its ending, whatever is refused on the way."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from api.database import Databases
from domain.events import StatusChanged
from domain.notification import Channel, Outcome, Status
from tests.services.worker_world import ACCEPTED, NOBODY, PERMANENT, TRANSIENT, World, report
from workers.broker.topology import EMAIL_QUEUE, EXCHANGE_NOTIFICATIONS, EXCHANGE_STATUS, FAILED_QUEUE, STATUS_QUEUE
from workers.consumer import WorkerSettings
from workers.relay import MESSAGES_A_BATCH

SENT_AT_ONCE = [Status.ACCEPTED, Status.QUEUED, Status.SENDING, Status.SENT]


@pytest.fixture
async def idle(databases: Databases) -> AsyncIterator[World]:
    """The broker is there; nothing else runs yet."""
    world = World(databases, WorkerSettings(concurrency=4))
    await world.broker.connect()
    yield world
    await world.stop()


@pytest.fixture
async def world(idle: World) -> World:
    """Everything runs."""
    await idle.start()
    return idle


class TestEndings:
    async def test_accepted_is_sent(self, world: World) -> None:
        id = await world.accept(ACCEPTED)
        view = await world.reached(id, Status.SENT)
        assert (view.status, view.provider, view.possible_duplicate) == (Status.SENT, "smtp", False)
        assert await world.story(id) == SENT_AT_ONCE
        assert world.bell.rung[id] == SENT_AT_ONCE[1:]

    async def test_a_slow_call_reports_sending_by_itself(self, world: World) -> None:
        gate = asyncio.Event()
        id = await world.accept(gate)
        assert (await world.reached(id, Status.SENDING)).status is Status.SENDING
        gate.set()
        await world.reached(id, Status.SENT)
        assert await world.story(id) == SENT_AT_ONCE

    async def test_a_transient_failure_is_tried_again(self, world: World) -> None:
        id = await world.accept(TRANSIENT, ACCEPTED)
        await world.reached(id, Status.SENT)
        assert await world.story(id) == [
            *(Status.ACCEPTED, Status.QUEUED, Status.SENDING, Status.RETRYING),
            *(Status.QUEUED, Status.SENDING, Status.SENT),
        ]
        assert [(claim.attempt, claim.attempts_used) for claim in world.sender.claims] == [(1, 0), (2, 1)]

    async def test_a_permanent_failure_is_one_dead_letter(self, world: World) -> None:
        id = await world.accept(PERMANENT)
        view = await world.reached(id, Status.FAILED)
        assert view.reason == "No such mailbox."
        await world.publish_raw(EXCHANGE_NOTIFICATIONS, "failed", b"the last of the queue")
        letter, _ = await world.dead_letters(2)
        assert (letter["notification_id"], letter["reason"], letter["attempts"]) == (id, "No such mailbox.", 1)

    async def test_attempts_that_are_used_up_end_it(self, world: World) -> None:
        id = await world.accept(TRANSIENT, TRANSIENT, TRANSIENT, TRANSIENT)
        await world.reached(id, Status.FAILED)
        assert world.calls(id) == 3
        assert [letter["attempts"] for letter in await world.dead_letters(1)] == [3]

    async def test_no_provider_hands_it_back_and_uses_no_attempt(self, world: World) -> None:
        id = await world.accept(NOBODY, NOBODY, ACCEPTED)
        await world.reached(id, Status.SENT)
        assert [(claim.attempt, claim.attempts_used) for claim in world.sender.claims] == [(1, 0), (2, 0), (3, 0)]
        assert (await world.story(id))[-2:] == [Status.SENDING, Status.SENT]

    async def test_what_was_recorded_or_ignored_is_acknowledged(self, world: World) -> None:
        stranger = StatusChanged(notification_id="ntf_stranger", status=Status.SENT, occurred_at=datetime.now(UTC))
        for _ in range(3 * MESSAGES_A_BATCH):  # more than the relay takes ahead
            await world.publish_raw(EXCHANGE_STATUS, "status.changed", report(stranger))
        id = await world.accept(ACCEPTED)
        await world.reached(id, Status.SENT)

    async def test_many_at_once_all_end_once(self, world: World) -> None:
        scripts = [(ACCEPTED,), (TRANSIENT, ACCEPTED), (PERMANENT,), (NOBODY, ACCEPTED)]
        ids = await asyncio.gather(*(world.accept(*scripts[number % 4]) for number in range(60)))
        for number, id in enumerate(ids):
            ending = Status.FAILED if number % 4 == 2 else Status.SENT
            assert (await world.reached(id, ending)).status is ending
            assert world.calls(id) == len(scripts[number % 4])
        assert world.sender.most_in_flight <= 50


class TestOnce:
    async def test_the_same_message_fifty_times_is_sent_once(self, idle: World) -> None:
        idle.relay.start()
        idle.worker.start()
        id, last = await idle.accept(), await idle.accept()
        await idle.outbox.take_due(Channel.EMAIL, 10, 60.0)
        await idle.publish((id, 0), times=50)
        await idle.publish((last, 0))
        await idle.reached(id, Status.SENT)
        await idle.reached(last, Status.SENT)
        assert idle.calls(id) == 1
        await idle.worker.stop()
        assert await idle.unclaimed_messages() == 0

    async def test_an_outcome_whose_report_was_lost_is_reported_again_and_not_sent_again(self, world: World) -> None:
        gate = asyncio.Event()
        id = await world.accept(gate)
        await world.reached(id, Status.SENDING)
        world.faults.left["publish:status.changed"] = 1
        gate.set()
        await world.worker.stop()
        assert world.faults.met["publish:status.changed"] == 1
        assert await world.story(id) == SENT_AT_ONCE[:-1]
        await world.make_due(id)
        await world.reached(id, Status.SENT)
        assert world.calls(id) == 1

    async def test_a_lease_that_ended_is_driven_again_alone_and_flagged(self, world: World) -> None:
        gate = asyncio.Event()
        id = await world.accept(gate, ACCEPTED)
        await world.called(id)
        await world.make_due(id)
        view = await world.reached(id, Status.SENT)
        assert view.possible_duplicate
        gate.set()
        assert [claim.uncertain for claim in world.sender.claims] == [False, True]
        outcomes = [attempt.outcome for attempt in (await world.queries.attempts([id]))[id]]
        assert outcomes == [Outcome.UNKNOWN]


class TestUnreadable:
    async def test_a_delivery_message_is_set_aside_with_its_reason(self, world: World) -> None:
        await world.publish_raw(EXCHANGE_NOTIFICATIONS, "email", b'{"version": 9}', message_id="m1")
        (letter,) = await world.dead_letters(1)
        assert (letter["queue"], letter["source"]) == (EMAIL_QUEUE, "message:m1")
        assert "channel" in letter["reason"]
        assert letter["notification_id"] is None

    async def test_a_report_is_set_aside_and_the_next_one_is_recorded(self, world: World) -> None:
        await world.publish_raw(EXCHANGE_STATUS, "status.changed", b"[]")
        id = await world.accept(ACCEPTED)
        await world.reached(id, Status.SENT)
        assert [letter["queue"] for letter in await world.dead_letters(1)] == [STATUS_QUEUE]

    async def test_what_strangers_publish_without_an_id_is_kept_apart(self, world: World) -> None:
        for body in (b"one", b"two", b"two"):
            await world.publish_raw(EXCHANGE_NOTIFICATIONS, "failed", body, message_id="")
        await world.publish_raw(EXCHANGE_NOTIFICATIONS, "failed", b"three", message_id="m" * 255)
        letters = await world.dead_letters(3)
        assert [letter["payload"] for letter in letters] == ['"one"', '"two"', '"three"']
        assert {letter["queue"] for letter in letters} == {FAILED_QUEUE}
        assert all(len(letter["source"]) <= 200 for letter in letters), "it fits its column"

    async def test_a_poisonous_item_does_not_harm_its_neighbours(self, idle: World) -> None:
        ids = [await idle.accept() for _ in range(5)]
        await idle.outbox.take_due(Channel.EMAIL, 10, 60.0)
        for id in ids[:3]:
            await idle.publish((id, 0))
        await idle.publish(("poison", 0))
        await idle.publish((ids[3], 0), (ids[4], 0))
        idle.relay.start()
        idle.worker.start()
        for id in ids:
            await idle.reached(id, Status.SENT)
        (letter,) = await idle.dead_letters(1)
        assert (letter["queue"], letter["reason"]) == (EMAIL_QUEUE, "It could not be claimed: ValueError")

    async def test_a_poisonous_change_does_not_harm_its_neighbours(self, world: World) -> None:
        gate = asyncio.Event()
        ids = [await world.accept(gate) for _ in range(2)]
        for id in ids:
            await world.called(id)
        changes = [
            StatusChanged(notification_id=id, status=Status.DELIVERED, occurred_at=datetime.now(UTC), reason=reason)
            for id, reason in zip(ids, ("poison", "fine"), strict=True)
        ]
        await world.publish_raw(EXCHANGE_STATUS, "status.changed", report(*changes))
        await world.reached(ids[1], Status.DELIVERED)
        (letter,) = await world.dead_letters(1)
        assert (letter["queue"], letter["reason"]) == (STATUS_QUEUE, "It could not be recorded: ValueError")
        gate.set()
        assert (await world.reached(ids[0], Status.SENT)).status is Status.SENT


class TestOutages:
    async def test_a_broker_that_is_away_when_dispatching_gives_the_rows_back(self, world: World) -> None:
        world.faults.left["publish:email"] = 2
        id = await world.accept(ACCEPTED)
        await world.reached(id, Status.SENT)
        assert world.faults.met["publish:email"] == 2
        assert world.calls(id) == 1

    @pytest.mark.parametrize("call", ["claim", "settle", "record"])
    async def test_a_database_that_is_away_is_waited_for(self, world: World, call: str) -> None:
        world.faults.left[call] = 2
        id = await world.accept(ACCEPTED)
        view = await world.reached(id, Status.SENT)
        assert world.faults.met[call] == 2
        assert (world.calls(id), view.possible_duplicate) == (1, False)

    async def test_handing_back_waits_for_the_database_and_uses_no_attempt(self, world: World) -> None:
        world.faults.left["release"] = 2
        id = await world.accept(NOBODY, ACCEPTED)
        await world.reached(id, Status.SENT)
        assert [(claim.attempts_used, claim.uncertain) for claim in world.sender.claims] == [(0, False), (0, False)]

    async def test_a_dead_letter_waits_for_the_database(self, world: World) -> None:
        world.faults.left["dead letter"] = 2
        await world.publish_raw(EXCHANGE_NOTIFICATIONS, "email", b"no message of ours")
        assert len(await world.dead_letters(1)) == 1
        assert world.faults.met["dead letter"] == 2


class TestWorker:
    async def test_stopping_finishes_what_is_in_hand_and_takes_nothing_new(self, world: World) -> None:
        gate = asyncio.Event()
        in_hand = await world.accept(gate)
        await world.called(in_hand)
        stopping = asyncio.create_task(world.worker.stop())
        await asyncio.sleep(0)
        waiting = await world.accept()
        await world.reached(waiting, Status.QUEUED)
        assert not stopping.done()
        gate.set()
        await stopping
        assert world.worker.in_hand == 0
        await world.reached(in_hand, Status.SENT)
        assert world.calls(waiting) == 0
        assert await world.unclaimed_messages() == 1

    async def test_stopping_does_not_wait_for_ever(self, world: World) -> None:
        id = await world.accept(asyncio.Event())
        await world.called(id)
        await world.worker.stop(0.0)
        assert world.sender.in_flight == 0
        assert Status.SENT not in await world.story(id)

    async def test_no_more_is_in_hand_than_allowed(self, idle: World) -> None:
        gate = asyncio.Event()
        ids = [await idle.accept(gate) for _ in range(10)]
        await idle.outbox.take_due(Channel.EMAIL, 10, 60.0)
        for id in ids:
            await idle.publish((id, 0))
        idle.relay.start()
        idle.worker.start()
        await idle.changes.until(lambda: idle.sender.in_flight == 4)
        assert idle.worker.in_hand == 4
        gate.set()
        for id in ids:
            await idle.reached(id, Status.SENT)
        assert idle.sender.most_in_flight == 4
