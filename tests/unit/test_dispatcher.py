"""What the dispatcher makes of due rows: which messages, in which order, and when it asks for none."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

from domain.errors import BrokerUnavailable
from domain.events import DELIVERY_REQUESTED, StatusChanged, decode_delivery, decode_report
from domain.notification import Channel, Priority, Status
from domain.ports import Due, Publication, QueueDepth
from tests.unit.virtual_time import in_virtual_time
from workers.dispatcher import Dispatcher

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class FakeOutbox:
    """Hands out what it holds, once."""

    def __init__(self, *rows: Due) -> None:
        self.rows = list(rows)
        self.taken = 0
        self.given_back: list[Due] = []
        self.expedited = 0

    async def take_due(self, channel: Channel, limit: int, redrive: float) -> list[Due]:
        self.taken += channel is Channel.EMAIL
        rows = [row for row in self.rows if row.channel is channel][:limit]
        self.rows = [row for row in self.rows if row not in rows]
        return rows

    async def give_back(self, rows: Sequence[Due]) -> None:
        self.given_back.extend(rows)
        self.rows.extend(rows)

    async def expedite(self, channel: Channel, *, revoke: bool = False) -> int:
        self.expedited += channel is Channel.EMAIL
        return 0


class FakeBroker:
    """Keeps what is published; `waiting` is how many messages every queue holds."""

    def __init__(self) -> None:
        self.published: list[Publication] = []
        self.waiting = 0
        self.failures = 0
        self.available = True
        self.callbacks: list[Callable[[], None]] = []

    async def publish(self, publications: Sequence[Publication], deadline: float = 10.0) -> None:
        if self.failures:
            self.failures -= 1
            raise BrokerUnavailable("away")
        self.published.extend(publications)

    async def depth(self, queue: str) -> QueueDepth:
        return QueueDepth(self.waiting, 1)

    def on_connected(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    async def connect(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to let go of."""

    def consume(self, queue: str, prefetch: int) -> AbstractAsyncContextManager[Any]:
        """Nobody consumes here."""
        raise AssertionError(queue)


def due(id: str, **changes: Any) -> Due:
    given: dict[str, Any] = {
        "priority": Priority.NORMAL,
        "status": Status.ACCEPTED,
        "revoked": False,
        "settled": (),
        "correlation_id": "cor_1",
    }
    return Due(id=id, channel=Channel.EMAIL, attempt=2, taken_at=NOW, written=NOW, **(given | changes))


async def run(broker: FakeBroker, outbox: FakeOutbox) -> None:
    """Dispatch for a minute."""
    dispatcher = Dispatcher(outbox, broker)
    dispatcher.start()
    await asyncio.sleep(60)
    await dispatcher.stop()


async def published(*rows: Due) -> list[Publication]:
    """What is published for these rows."""
    broker, outbox = FakeBroker(), FakeOutbox(*rows)
    await run(broker, outbox)
    return broker.published


def deliveries(publications: Sequence[Publication]) -> list[tuple[Priority, list[str]]]:
    """The delivery messages: their priority and their ids."""
    messages = [one.message for one in publications if one.message.type == DELIVERY_REQUESTED]
    decoded = [decode_delivery(message.body) for message in messages]
    return [(message.priority, [item.id for item in message.items]) for message in decoded]


def reported(publications: Sequence[Publication]) -> list[tuple[str, Status]]:
    """What is reported: ids and statuses."""
    messages = [one.message for one in publications if one.message.type != DELIVERY_REQUESTED]
    changes = [change for message in messages for change in decode_report(message.body).changes]
    return [(change.notification_id, change.status) for change in changes]


@in_virtual_time
async def test_the_report_goes_before_the_delivery() -> None:
    report, delivery = await published(due("a"))
    assert (report.exchange, delivery.exchange) == ("notifications.status", "notifications.direct")
    (queued,) = decode_report(report.message.body).changes
    assert (queued.status, queued.attempt, queued.token, queued.occurred_at) == (Status.QUEUED, 2, None, NOW)
    assert decode_delivery(delivery.message.body).items[0].attempt == 2


@in_virtual_time
async def test_a_message_is_of_one_priority_and_critical_goes_first() -> None:
    rows = [due(f"{priority}{n}", priority=priority) for n in range(2) for priority in reversed(Priority)]
    assert deliveries(await published(*rows)) == [
        (priority, [f"{priority}0", f"{priority}1"]) for priority in (Priority.CRITICAL, Priority.NORMAL, Priority.BULK)
    ]


@in_virtual_time
async def test_a_message_holds_fifty_at_most() -> None:
    sizes = [len(ids) for _, ids in deliveries(await published(*(due(str(n)) for n in range(120))))]
    assert sizes == [50, 50, 20]


@in_virtual_time
async def test_what_a_worker_died_of_travels_alone() -> None:
    rows = [due("a"), due("b", revoked=True, status=Status.SENDING), due("c")]
    assert sorted(ids for _, ids in deliveries(await published(*rows))) == [["a", "c"], ["b"]]


@in_virtual_time
async def test_a_stored_outcome_is_reported_and_not_delivered() -> None:
    sent = StatusChanged(notification_id="a", status=Status.SENT, occurred_at=NOW, token="clm")
    publications = await published(due("a", settled=(sent,)))
    assert reported(publications) == [("a", Status.SENT)]
    assert deliveries(publications) == []


@in_virtual_time
async def test_queued_is_reported_only_of_what_was_not_queued_before() -> None:
    rows = [due(status, status=status) for status in Status if status not in (Status.SENT, Status.FAILED)]
    assert {id for id, _ in reported(await published(*rows))} == {"ACCEPTED", "SCHEDULED", "RETRYING"}


@in_virtual_time
async def test_a_correlation_id_that_all_share_is_the_messages() -> None:
    assert [one.message.correlation_id for one in (await published(due("a"), due("b")))[-1:]] == ["cor_1"]
    mixed = await published(due("a"), due("b", correlation_id="cor_2"))
    assert mixed[-1].message.correlation_id is None


@in_virtual_time
async def test_a_failed_publish_gives_the_rows_back_and_is_tried_again() -> None:
    broker, outbox = FakeBroker(), FakeOutbox(row := due("a"))
    broker.failures = 2
    await run(broker, outbox)
    assert outbox.given_back == [row, row]
    assert deliveries(broker.published) == [(Priority.NORMAL, ["a"])]


@in_virtual_time
async def test_nothing_is_taken_while_the_queue_is_full_or_the_broker_away() -> None:
    for change in ({"waiting": 10}, {"available": False}):
        broker, outbox = FakeBroker(), FakeOutbox(due("a"))
        for name, value in change.items():
            setattr(broker, name, value)
        dispatcher = Dispatcher(outbox, broker, window=10)
        dispatcher.start()
        await asyncio.sleep(60)
        assert outbox.taken == 0
        broker.waiting, broker.available = 0, True
        await asyncio.sleep(60)
        assert deliveries(broker.published) == [(Priority.NORMAL, ["a"])]
        await dispatcher.stop()


@in_virtual_time
async def test_after_every_connection_an_empty_queue_is_filled_again() -> None:
    broker, outbox = FakeBroker(), FakeOutbox()
    dispatcher = Dispatcher(outbox, broker)
    dispatcher.start()
    await asyncio.sleep(10)
    assert outbox.expedited == 1
    for callback in broker.callbacks:
        callback()
    await asyncio.sleep(10)
    assert outbox.expedited == 2
    broker.waiting = 1
    for callback in broker.callbacks:
        callback()
    await asyncio.sleep(10)
    assert outbox.expedited == 2
    await dispatcher.stop()


@in_virtual_time
async def test_a_nudge_makes_it_look_at_once() -> None:
    broker, outbox = FakeBroker(), FakeOutbox()
    dispatcher = Dispatcher(outbox, broker, poll=1000.0)
    dispatcher.start()
    await asyncio.sleep(1)
    outbox.rows.append(due("a"))
    dispatcher.nudge()
    await asyncio.sleep(1)
    assert deliveries(broker.published) == [(Priority.NORMAL, ["a"])]
    await dispatcher.stop()
