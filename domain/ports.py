"""Every protocol between the domain and the world, to be read in one sitting.

Each has at least two adapters (one embedded, one for many machines) and one contract suite in `tests/contracts` that
all of them pass. Every call on the outside has a deadline of its own and fails with an error of `domain.errors`.

`Claim` and `Settlement` are written down in `domain.claims` and belong to the protocols here: import them from either.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from domain.claims import Claim as Claim
from domain.claims import Settlement as Settlement
from domain.events import DeliveryItem, StatusChanged
from domain.notification import Channel, Priority, Status
from domain.outgoing import Answer, Delivered, OutgoingEmail, OutgoingPush
from domain.recipient import Device, Recipient, Standing, Suppressed
from domain.template import Template, TemplateVersion

# ------------------------------------------------------------------------------------------------ the status store


class Claims(Protocol):
    """The worker's side of the status store. Each call is one statement for the whole batch."""

    async def claim(self, items: Sequence[DeliveryItem], lease: float) -> list[Claim]:
        """Take the claim on those items that are free and whose attempt is still the row's (rule R1).

        What is missing from the answer was refused: drop it. `lease` is in seconds. Each claim has its own token.
        """

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Store outcomes on claims that are still held (rule R3). May be called twice."""

    async def release(self, claims: Sequence[tuple[str, str]], delay: float = 0.0) -> None:
        """Hand back claims (id, token) that were not started: due again in `delay` seconds, no attempt used."""


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A row whose time has come. `settled` holds the changes that a worker stored but that were never recorded.

    `revoked` says that a lease ended here: publish it as a list of its own. `written` is the clock that was set.
    """

    id: str
    channel: Channel
    priority: Priority
    attempt: int
    status: Status
    revoked: bool
    settled: tuple[StatusChanged, ...]
    taken_at: datetime
    written: datetime
    correlation_id: str
    traceparent: str | None = None


class Outbox(Protocol):
    """The dispatcher's side of the status store: a view on the unfinished notifications."""

    async def take_due(self, channel: Channel, limit: int, redrive: float) -> list[Due]:
        """Take due rows, CRITICAL first, and move their clocks out by at least `redrive` seconds (rule R2).

        Committed before it returns. A lease that ended is revoked here; its attempt is recorded as UNKNOWN.
        """

    async def give_back(self, rows: Sequence[Due]) -> None:
        """The publish failed: due again now, where the clock is still the one that was written."""

    async def expedite(self, channel: Channel, *, revoke: bool = False) -> int:
        """What was published and not claimed is due again now, because the queue is known to be empty.

        With `revoke` the claimed rows too: only for a process that knows that it is alone. Returns how many.
        """


class LogRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the status log. `position` is dense over the log, `sequence` dense per notification."""

    position: int
    sequence: int
    notification_id: str
    request_id: str
    request: str
    client: str
    user_id: str | None
    channel: Channel
    category: str
    status: Status
    previous_status: Status | None
    reason: str | None
    attempt: int | None
    provider: str | None
    detail: dict[str, Any] | None
    occurred_at: datetime
    recorded_at: datetime
    correlation_id: str


class Recorded(msgspec.Struct, frozen=True):
    """What `record` wrote: new log rows in order of position, what it ignored and why, traceparents by notification."""

    rows: list[LogRow]
    ignored: list[tuple[StatusChanged, str]]
    traces: dict[str, str] = {}


class StatusStore(Protocol):
    """The one door through which a status changes."""

    async def record(self, changes: Sequence[StatusChanged]) -> Recorded:
        """Apply `track` to the changes in one transaction (rule R6). May be called again with the same changes."""

    async def record_dead_letter(self, letter: "DeadMessage") -> None:
        """Keep a message that nobody could read. May be called twice for one message."""


class DeadMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that could not be processed, as it came out of `failed.queue`."""

    message_id: str
    queue: str
    reason: str
    body: bytes


class LogFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which log rows a reader wants; None means any."""

    notification_id: str | None = None
    request: str | None = None
    channel: Channel | None = None
    status: frozenset[Status] | None = None
    category: str | None = None
    user_id: str | None = None

    def admits(self, row: LogRow) -> bool:
        """Whether `row` passes."""
        return (
            (self.notification_id is None or row.notification_id == self.notification_id)
            and (self.request is None or row.request == self.request)
            and (self.channel is None or row.channel is self.channel)
            and (self.status is None or row.status in self.status)
            and (self.category is None or row.category == self.category)
            and (self.user_id is None or row.user_id == self.user_id)
        )


class StatusLog(Protocol):
    """The readers' side of the status log."""

    async def head(self) -> int:
        """The last position; 0 while the log is empty."""

    async def read(self, after: int, limit: int, where: LogFilter, until: int | None = None) -> list[LogRow]:
        """Up to `limit` rows with `after < position <= until` that pass, in order. `CursorExpired`: some are gone."""


# ------------------------------------------------------------------------------------------------------ the broker


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message of ours. `message_id` is random and never reused."""

    type: str
    body: bytes
    message_id: str
    correlation_id: str | None = None
    headers: dict[str, str] = {}


class Publication(msgspec.Struct, frozen=True):
    """Where a message goes."""

    exchange: str
    routing_key: str
    message: Message


class Received(Protocol):
    """A message out of a queue. It must be settled once, in any way; settling never raises."""

    @property
    def message(self) -> Message:
        """What was published (fields that a stranger left out are empty)."""

    @property
    def redelivered(self) -> bool:
        """Whether the broker handed it out before."""

    async def ack(self) -> None:
        """Done with it."""

    async def requeue(self) -> None:
        """Back to the queue, for somebody else."""

    async def reject(self, reason: str) -> None:
        """To `failed.queue`, with the reason; it is acknowledged only after that was confirmed."""


class QueueDepth(msgspec.Struct, frozen=True):
    """What waits in a queue, in messages, and who consumes it."""

    messages: int
    consumers: int


class Broker(Protocol):
    """Messages between roles: at least once, in order per queue as long as nothing is redelivered."""

    async def connect(self) -> None:
        """Connect and declare the topology; waits with back-off until the broker is there."""

    async def close(self) -> None:
        """Stop. Messages that were not settled go back to their queues."""

    async def publish(self, publications: Sequence[Publication], deadline: float = 10.0) -> None:
        """Publish in order and return when all are confirmed. Raises `BrokerUnavailable`: then each may have
        arrived or not."""

    def consume(self, queue: str, prefetch: int) -> AbstractAsyncContextManager[AsyncIterator[Received]]:
        """Messages of a queue for as long as the context lasts, across reconnects; at most `prefetch` unsettled."""

    async def depth(self, queue: str) -> QueueDepth:
        """What waits in the queue now. Raises `BrokerUnavailable`."""

    def on_connected(self, callback: Callable[[], None]) -> None:
        """After each connection, the first too, call `callback` once the topology stands; it never raises or blocks."""

    @property
    def available(self) -> bool:
        """Whether it is connected now."""


# ------------------------------------------------------------------------------------------------------- the feed


class Bell(Protocol):
    """Pub/sub between processes: best effort, unordered, may lose anything. It only ever says "look"."""

    async def connect(self) -> None:
        """Start. Returns at once even when the server is away; it is found later."""

    async def close(self) -> None:
        """Stop."""

    def ring(self, channel: str, payload: bytes = b"") -> None:
        """Tell everybody, this process included. Never waits, never raises; when the server is away it is lost."""

    def listen(self, channel: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """What is rung from now on. An empty payload also comes after every (re)connection: look, you may have
        missed something. A listener that is slow loses the oldest."""

    @property
    def available(self) -> bool:
        """Whether the server is there now."""


# --------------------------------------------------------------------------------------------------- the providers


class EmailProvider(Protocol):
    """Takes mail. Classifies every answer, never raises for one, and answers within `deadline` seconds."""

    name: str

    async def send(self, mail: OutgoingEmail, deadline: float) -> Answer:
        """One mail to one recipient."""

    async def close(self) -> None:
        """Let go of connections."""


class PushProvider(Protocol):
    """Takes push notifications. The same promises as `EmailProvider`."""

    name: str

    def serves(self, device: Device) -> bool:
        """Whether the device's token is of this provider's kind. It is never sent any other."""

    async def send(self, push: OutgoingPush, deadline: float) -> Answer:
        """One push notification to one device."""

    async def close(self) -> None:
        """Let go of connections."""


class Sender(Protocol):
    """A channel's way out: renders, picks the provider, calls it. Never raises for somebody else's fault."""

    async def send(self, claim: Claim, deadline: float) -> Delivered:
        """One delivery attempt within `deadline` seconds."""


# ---------------------------------------------------------------------------------------------- the other services

T = TypeVar("T")


class Known(msgspec.Struct, Generic[T], frozen=True):
    """What another service says. `stale`: it is away, and this is what it said last."""

    value: T
    stale: bool = False


class Recipients(Protocol):
    """What the gateway and the workers ask the User Service."""

    async def lookup(self, user_ids: Sequence[str]) -> Mapping[str, Known[Recipient]]:
        """Those that exist, by id; up to 1,000 at once, in one call. Raises `UpstreamUnavailable`."""


class Templates(Protocol):
    """What the gateway and the workers ask the Template Service."""

    async def published(self, key: str) -> Known[Template]:
        """The template as it is published now. Raises `NotFound`, `UpstreamUnavailable`."""

    async def version(self, key: str, version: int) -> TemplateVersion:
        """One version, published or not; published versions never change. Raises as above."""


class Suppressions(Protocol):
    """Our blocks on contact points. They are the gateway database's, which the workers share."""

    async def among(self, channel: Channel, contact_points: Collection[str], category: str | None = None) -> Suppressed:
        """Those that are suppressed, for everything or for this category, and why. Raises `DatabaseUnavailable`."""


class Standings(Protocol):
    """What a worker asks right before it sends."""

    async def of(self, claim: Claim) -> Standing:
        """The recipient as they are now: as they were last heard of, or at least as they were accepted, while the
        User Service is away. Claims that ask together are asked for together. Raises `DatabaseUnavailable`."""


class Cache(Protocol):
    """What many processes remember together. It may forget anything at any time; an entry's age is its own to tell."""

    async def get(self, keys: Sequence[str]) -> Mapping[str, "Cached"]:
        """Those that are there. Never raises: a cache that is away has nothing."""

    async def put(self, items: Mapping[str, bytes], keep: float) -> None:
        """Remember these for `keep` seconds, but for those dropped a moment ago: what was read before they were
        dropped must not come back. Never raises."""

    async def drop(self, keys: Sequence[str]) -> None:
        """Forget these. Never raises."""

    async def close(self) -> None:
        """Let go of connections."""


class Cached(msgspec.Struct, frozen=True):
    """A value of the cache, and how many seconds ago it was put there by the cache's own clock."""

    value: bytes
    age: float
