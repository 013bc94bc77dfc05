"""Ports that fail now and then: before the call, which is then not made, or after it, as when an answer is lost.

The second kind is the nasty one: what the caller takes for a failure has happened. Seeded, so that a failure of a test
can be had again.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from api.gateway.claims import SqlClaims
from api.gateway.outbox import SqlOutbox
from api.gateway.statuslog import SqlStatusStore
from domain.errors import BrokerUnavailable, DatabaseUnavailable
from domain.notification import Outcome
from domain.outgoing import Answer, OutgoingEmail
from domain.ports import Broker, Message, Publication, QueueDepth, Received
from workers.broker.memory import MemoryBroker

SOON = 5
"""Calls, at most, before the first fault of a kind."""
STORE_CALLS = {
    SqlClaims: ("claim", "settle", "release"),
    SqlOutbox: ("take_due", "give_back", "expedite"),
    SqlStatusStore: ("record", "record_dead_letter"),
}


class Chance:
    """Says what becomes of each call: a fault of a kind strikes after a number of calls that the seed decides.

    The number is `1 / rate` on average; the first one comes soon, so that each kind is met. `met` counts.
    """

    def __init__(self, seed: int, rate: float) -> None:
        self._random, self._rate = Random(seed), rate
        self._left: dict[str, int] = {}
        self.met: Counter[str] = Counter()
        self.calm = False

    def strikes(self, what: str, share: float = 1.0) -> bool:
        """Whether this fault happens now; `share` makes it rarer."""
        if not self._left.get(what):
            longest = round(2 / (self._rate * share)) - 1 if what in self._left else SOON
            self._left[what] = self._random.randint(1, longest)
        self._left[what] -= 1
        strikes = self._left[what] == 0 and not self.calm
        self.met[what] += strikes
        return strikes

    def some_of(self, count: int) -> int:
        """How many of a row get through before it breaks."""
        return self._random.randrange(count + 1)

    def around(self, port: Any) -> Any:
        """The port, as unreliable as everything else."""
        if isinstance(port, MemoryBroker):
            return UnreliableBroker(port, self)
        (names,) = (names for kind, names in STORE_CALLS.items() if isinstance(port, kind))
        return _UnreliableStore(port, names, self)


class _UnreliableStore:
    """The calls of these names raise `DatabaseUnavailable` now and then."""

    def __init__(self, store: Any, names: Sequence[str], chance: Chance) -> None:
        self._store, self._chance = store, chance
        for name in names:
            setattr(self, name, self._unreliable(name))

    def _unreliable(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **more: Any) -> Any:
            if self._chance.strikes(f"{name} refused", 0.5):
                raise DatabaseUnavailable(f"{name}: the database is away")
            answer = await getattr(self._store, name)(*args, **more)
            if self._chance.strikes(f"{name} unheard", 0.5):
                raise DatabaseUnavailable(f"{name}: the answer was lost, and it was done")
            return answer

        return call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class UnreliableBroker:
    """`domain.ports.Broker` that loses answers, confirms, acknowledgements and tails of what is published."""

    def __init__(self, broker: Broker, chance: Chance) -> None:
        self._broker, self._chance = broker, chance
        self.connect, self.close, self.on_connected = broker.connect, broker.close, broker.on_connected

    @property
    def available(self) -> bool:
        return self._broker.available

    async def publish(self, publications: Sequence[Publication], deadline: float = 10.0) -> None:
        if self._chance.strikes("publish cut off", 0.5):
            await self._broker.publish(publications[: self._chance.some_of(len(publications))], deadline)
            raise BrokerUnavailable("the connection broke while publishing")
        await self._broker.publish(publications, deadline)
        if self._chance.strikes("publish unconfirmed", 0.5):
            raise BrokerUnavailable("no confirm came")

    @asynccontextmanager
    async def consume(self, queue: str, prefetch: int) -> AsyncIterator[AsyncIterator[Received]]:
        async with self._broker.consume(queue, prefetch) as messages:
            yield (_UnreliableReceived(received, self._chance) async for received in messages)

    async def depth(self, queue: str) -> QueueDepth:
        if self._chance.strikes("depth refused"):
            raise BrokerUnavailable("the broker is away")
        return await self._broker.depth(queue)


class _UnreliableReceived:
    """A message whose acknowledgement is lost now and then: it comes again."""

    def __init__(self, received: Received, chance: Chance) -> None:
        self._received, self._chance = received, chance

    @property
    def message(self) -> Message:
        return self._received.message

    @property
    def redelivered(self) -> bool:
        return self._received.redelivered

    async def ack(self) -> None:
        if self._chance.strikes("ack lost"):
            await self._received.requeue()
        else:
            await self._received.ack()

    async def requeue(self) -> None:
        await self._received.requeue()

    async def reject(self, reason: str) -> None:
        await self._received.reject(reason)


class UnreliableProvider:
    """A mail provider that is away, loses its answer, or breaks its promise not to raise; counts what it took."""

    name = "unreliable"

    def __init__(self, chance: Chance) -> None:
        self.taken: Counter[str] = Counter()
        self._chance = chance

    async def send(self, mail: OutgoingEmail, deadline: float) -> Answer:
        if self._chance.strikes("provider away"):
            return Answer(outcome=Outcome.TRANSIENT, code="connect_failed")
        self.taken[mail.message_id.strip("<>").partition("@")[0]] += 1
        if self._chance.strikes("provider unheard", 0.5):
            return Answer(outcome=Outcome.UNKNOWN, code="timeout")
        if self._chance.strikes("provider raised", 0.5):
            raise ConnectionResetError("the provider broke")
        return Answer(outcome=Outcome.ACCEPTED, provider_message_id=mail.message_id)

    async def close(self) -> None:
        """Nothing to let go of."""
