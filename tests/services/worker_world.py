"""Dispatcher, worker and relay in one process: the memory broker, the SQLite store, and a provider that obeys."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from api.database import Databases
from api.gateway.claims import SqlClaims
from api.gateway.logreader import SqlStatusLog
from api.gateway.outbox import SqlOutbox
from api.gateway.queries import Queries
from api.gateway.repository import SqlRequests
from api.gateway.statuslog import SqlStatusStore
from domain.channels import STATUS_CHANNEL
from domain.doorbell import decode
from domain.errors import BrokerUnavailable, DatabaseUnavailable
from domain.events import DeliveryItem, DeliveryRequested, StatusChanged
from domain.ids import NOTIFICATION, REQUEST, new_id
from domain.notification import Channel, Outcome, Priority, Status
from domain.outgoing import Delivered
from domain.ports import Claim, DeadMessage, LogFilter, Message, Publication, Recorded, Settlement
from domain.recipient import Recipient, Standing
from domain.retry import RetryPolicy
from domain.template import Content
from domain.views import Draft, NotificationView, Order
from workers.broker.memory import MemoryBroker
from workers.broker.topology import EMAIL_QUEUE
from workers.consumer import Worker, WorkerSettings
from workers.dispatcher import Dispatcher
from workers.messages import delivery_publication
from workers.relay import Relay

PATIENCE = 20.0
"""Seconds that a condition may take; less than a re-drive, so that nothing is mended by it unseen."""
REDRIVE = 60.0

ACCEPTED = Delivered(outcome=Outcome.ACCEPTED, provider="smtp")
TRANSIENT = Delivered(outcome=Outcome.TRANSIENT, provider="smtp", code="451", reason="Busy.")
PERMANENT = Delivered(outcome=Outcome.PERMANENT, provider="smtp", code="550", reason="No such mailbox.")
NOBODY = Delivered(outcome=None, reason="The breaker is open.", retry_after=0.01)


class Changes:
    """Something that one can wait for."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()

    async def notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until it holds; looked at after every change."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(holds)


class ScriptedSender:
    """Answers each call for a notification with the next line of its script; without one it accepts.

    A gate in a script holds the call until it is opened, and then accepts.
    """

    def __init__(self, changes: Changes) -> None:
        self.script: dict[str, list[Delivered | asyncio.Event]] = {}
        self.claims: list[Claim] = []
        self.in_flight = self.most_in_flight = 0
        self._changes = changes

    async def send(self, claim: Claim, deadline: float) -> Delivered:
        self.claims.append(claim)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await self._changes.notify()
        try:
            return await self._answer(claim)
        finally:
            self.in_flight -= 1

    async def _answer(self, claim: Claim) -> Delivered:
        line = next(iter(self.script.get(claim.id, [])), ACCEPTED)
        self.script[claim.id] = self.script.get(claim.id, [])[1:]
        if isinstance(line, asyncio.Event):
            await line.wait()
            return ACCEPTED
        return line


class Standings:
    """Everybody stands as they were accepted, but for those whose standing is set here."""

    def __init__(self) -> None:
        self.of_user: dict[str | None, Standing] = {}

    async def of(self, claim: Claim) -> Standing:
        as_accepted = Standing(recipient=claim.recipient, suppressed={})
        return self.of_user.get(claim.recipient.user_id, as_accepted)


class Faults:
    """How often each call is refused before it is let through."""

    def __init__(self) -> None:
        self.left: Counter[str] = Counter()
        self.met: Counter[str] = Counter()

    def meet(self, name: str, error: type[Exception]) -> None:
        """Raises while there are some left for `name`."""
        if self.left[name] > 0:
            self.left[name] -= 1
            self.met[name] += 1
            raise error(f"{name} is refused")


class FaultyBroker(MemoryBroker):
    """Refuses to publish now and then."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    async def publish(self, publications: Sequence[Publication], deadline: float = 10.0) -> None:
        for key in {publication.routing_key for publication in publications}:
            self._faults.meet(f"publish:{key}", BrokerUnavailable)
        await super().publish(publications, deadline)


class FaultyClaims(SqlClaims):
    """A store that is away now and then, and that never takes a poisonous id."""

    faults: Faults

    async def claim(self, items: Sequence[DeliveryItem], lease: float) -> list[Claim]:
        self.faults.meet("claim", DatabaseUnavailable)
        if any(item.id == "poison" for item in items):
            raise ValueError("the database refuses this set")
        return await super().claim(items, lease)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        self.faults.meet("settle", DatabaseUnavailable)
        await super().settle(settlements)

    async def release(self, claims: Sequence[tuple[str, str]], delay: float = 0.0) -> None:
        self.faults.meet("release", DatabaseUnavailable)
        await super().release(claims, delay)


class FaultyStatusStore(SqlStatusStore):
    """The same for the relay's side; tells of every dead letter."""

    faults: Faults
    changes: Changes

    async def record(self, changes: Sequence[StatusChanged]) -> Recorded:
        self.faults.meet("record", DatabaseUnavailable)
        if any(change.reason == "poison" for change in changes):
            raise ValueError("the database refuses this set")
        return await super().record(changes)

    async def record_dead_letter(self, letter: DeadMessage) -> None:
        self.faults.meet("dead letter", DatabaseUnavailable)
        await super().record_dead_letter(letter)
        await self.changes.notify()


class FakeBell:
    """Remembers the statuses that were rung."""

    available = True

    def __init__(self, changes: Changes) -> None:
        self.rung: dict[str, list[Status]] = {}
        self._changes = changes
        self._told: set[asyncio.Task[None]] = set()

    def ring(self, channel: str, payload: bytes = b"") -> None:
        assert channel == STATUS_CHANNEL
        for row in decode(payload).rows:
            self.rung.setdefault(row.notification_id, []).append(row.status)
        task = asyncio.get_running_loop().create_task(self._changes.notify())
        self._told.add(task)
        task.add_done_callback(self._told.discard)

    async def connect(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to let go of."""

    def listen(self, channel: str) -> Any:
        """Nobody listens here."""
        raise AssertionError(channel)


class World:
    """Everything between accepting and the status log."""

    def __init__(self, databases: Databases, settings: WorkerSettings) -> None:
        self.database = databases["gateway"]
        self.changes = Changes()
        self.faults = Faults()
        self.queries = Queries(self.database)
        self.requests = SqlRequests(self.database, self.queries, lambda rows: None)
        self.outbox = SqlOutbox(self.database)
        self.claims = FaultyClaims(self.database)
        self.status = FaultyStatusStore(self.database)
        self.claims.faults = self.status.faults = self.faults
        self.status.changes = self.changes
        self.log = SqlStatusLog(self.database)
        self.sender = ScriptedSender(self.changes)
        self.bell = FakeBell(self.changes)
        self.broker = FaultyBroker(self.faults)
        policy = RetryPolicy(schedule=(0.01, 0.01), jitter=0.0)
        self.dispatcher = Dispatcher(self.outbox, self.broker, redrive=REDRIVE, poll=0.02)
        self.standings = Standings()
        self.worker = Worker(Channel.EMAIL, self.broker, self.claims, self.standings, self.sender, policy, settings)
        self.relay = Relay(self.broker, self.status, self.log, self.bell)

    async def start(self) -> None:
        """Everything runs."""
        await self.broker.connect()
        self.relay.start()
        self.worker.start()
        self.dispatcher.start()

    async def stop(self) -> None:
        """In the order in which a process stops its roles."""
        await self.dispatcher.stop()
        await self.worker.stop(1.0)
        await self.relay.stop(1.0)
        await self.broker.close()

    async def accept(self, *script: Delivered | asyncio.Event, priority: Priority = Priority.NORMAL) -> str:
        """Accept one notification, to be answered by `script`; its id."""
        order = order_of_one(priority)
        id = order.drafts[0].id
        self.sender.script[id] = list(script)
        await self.requests.accept(order)
        self.dispatcher.nudge()
        return id

    async def publish(self, *items: tuple[str, int], times: int = 1) -> None:
        """Publish a delivery message as the dispatcher would, so many times."""
        message = DeliveryRequested(
            channel=Channel.EMAIL, priority=Priority.NORMAL, items=[DeliveryItem(*item) for item in items]
        )
        copies = [delivery_publication(message, correlation_id=None, traceparent=None) for _ in range(times)]
        await self.broker.publish(copies)

    async def publish_raw(self, exchange: str, key: str, body: bytes, **more: Any) -> None:
        """Publish whatever a stranger would."""
        message = Message(**({"type": "", "body": body, "message_id": new_id("msg")} | more))
        await self.broker.publish([Publication(exchange, key, message)])

    async def reached(self, id: str, status: Status, times: int = 1) -> NotificationView:
        """Wait until a notification has had this status so often; how it stands."""
        await self.changes.until(lambda: self.bell.rung.get(id, []).count(status) >= times)
        view = await self.queries.notification(id)
        assert view is not None
        return view

    async def called(self, id: str, times: int = 1) -> None:
        """Wait until the provider was called so often for a notification."""
        await self.changes.until(lambda: self.calls(id) >= times)

    def calls(self, id: str) -> int:
        """How often the provider was called for it."""
        return sum(claim.id == id for claim in self.sender.claims)

    async def story(self, id: str) -> list[Status]:
        """The statuses of a notification in the log."""
        return [row.status for row in await self.log.read(0, 1000, LogFilter(notification_id=id))]

    async def dead_letters(self, count: int) -> list[dict[str, Any]]:
        """Wait until there are so many; the oldest first."""
        async with asyncio.timeout(PATIENCE):
            while True:
                letters = await self.database.query("SELECT * FROM dead_letters ORDER BY id")
                if len(letters) >= count:
                    return letters
                await asyncio.sleep(0.01)

    async def unclaimed_messages(self) -> int:
        """What waits in the email queue."""
        return (await self.broker.depth(EMAIL_QUEUE)).messages

    async def make_due(self, id: str) -> None:
        """Let the time pass until the row's clock has come: its lease or its re-drive."""
        past = datetime.now(UTC) - timedelta(seconds=5)
        text = past.strftime("%Y-%m-%d %H:%M:%S.%f+00:00")
        await self.database.query("UPDATE notifications SET next_at = $1 WHERE id = $2", [text, id])
        self.dispatcher.nudge()


def order_of_one(priority: Priority = Priority.NORMAL) -> Order:
    """An order for one mail."""
    id = new_id(REQUEST)
    draft = Draft(
        id=new_id(NOTIFICATION),
        channel=Channel.EMAIL,
        status=Status.ACCEPTED,
        reason=None,
        recipient=Recipient(email="ada@example.com"),
        template=None,
        variables=None,
    )
    return Order(
        id=id,
        client="client",
        request_id=id,
        fingerprint="f",
        correlation_id="cor_test",
        traceparent=None,
        category="general",
        priority=priority,
        content=Content(subject="Hello", text="World"),
        variables={},
        push=None,
        metadata=None,
        send_at=None,
        deliver_by=None,
        drafts=(draft,),
    )


def report(*changes: StatusChanged) -> bytes:
    """A status message."""
    return msgspec.json.encode({"version": 1, "changes": changes})
