"""The consumer of a delivery queue: claim, deliver, settle, report.

A message is acknowledged as soon as its claim has committed: from then on the row speaks for it. Whatever gathers
while the last claim, or the last settlement, is in flight goes as one statement and one message. The number of
notifications in hand is bounded by `concurrency`, and nothing is claimed that cannot start now.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

import msgspec

from domain.concurrency import Batcher, Tasks, backoff
from domain.deliver import DatabaseClock, HandBack, deliver, sending
from domain.errors import Unavailable, UnreadableMessage
from domain.events import MAX_CHANGES, DeliveryItem, DeliveryRequested, StatusChanged, decode_delivery
from domain.life import tell
from domain.notification import Channel, Status
from domain.ports import Broker, Claim, Claims, Publication, Received, Sender, Settlement, Standings
from domain.retry import RetryPolicy
from domain.telemetry import sane_traceparent, speak_of, traceparent
from domain.tracing import UNTRACED, Kind, Span, Tracer
from workers.broker.topology import queue_of
from workers.messages import given_up_publications, report_publications
from workers.slots import Slots
from workers.telling import about, attempted, conclude, message_attributes

log = logging.getLogger(__name__)

_Held = tuple[Claim, DatabaseClock]

SLOW_CALL = 0.1
"""Seconds after which SENDING is reported by itself."""
GATHER = 0.003
SETTLE_ATTEMPTS = 10
DATABASE_PAUSE = 1.0
"""Seconds until a notification is looked at again about which the database could not be asked."""
CLAIMS_A_BATCH = 50


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`lease` and `deadline` in seconds: how long a claim holds, and how long one delivery attempt may take.

    `concurrency` bounds the notifications in hand, `prefetch` the messages that the broker hands out ahead.
    """

    lease: float = 60.0
    deadline: float = 20.0
    concurrency: int = 200
    prefetch: int = 50


class Worker:
    """The Email Service's or the Push Service's loop, for one channel."""

    def __init__(
        self,
        channel: Channel,
        broker: Broker,
        claims: Claims,
        standings: Standings,
        sender: Sender,
        policy: RetryPolicy,
        settings: WorkerSettings,
        monotonic: Callable[[], float] = time.monotonic,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._channel = channel
        self._broker = broker
        self._claims = claims
        self._standings = standings
        self._sender = sender
        self._policy = policy
        self._settings = settings
        self._monotonic = monotonic
        self._tracer = tracer
        self._slots = Slots(settings.concurrency)
        self._loops = Tasks()
        self._messages = Tasks()
        self._deliveries = Tasks()
        self._claiming: Batcher[Sequence[DeliveryItem], list[_Held]] = Batcher(
            self._claim, limit=CLAIMS_A_BATCH, gather=GATHER, name=f"{channel.routing_key}:claim", apart=True
        )
        self._finishing: Batcher[Settlement, None] = Batcher(
            self._finish,
            limit=MAX_CHANGES // 2,
            concurrency=2,
            gather=GATHER,
            name=f"{channel.routing_key}:finish",
            apart=True,
        )
        self._reporting: Batcher[StatusChanged, None] = Batcher(
            self._report, limit=MAX_CHANGES, name=f"{channel.routing_key}:report", apart=True
        )

    def start(self) -> None:
        """Consume until `stop`."""
        _ = self._loops.supervise(f"{self._channel.routing_key}:consume", self._consume)

    async def stop(self, seconds: float = 25.0) -> None:
        """Stop consuming, let what is in hand finish within `seconds`, hand the rest back."""
        await self._loops.cancel()
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        for work in (self._messages, self._claiming, self._deliveries, self._finishing, self._reporting):
            await work.drain(max(1.0, until - clock()))  # an outcome in hand is worth another second

    @property
    def in_hand(self) -> int:
        """How many notifications are being worked on."""
        return self._slots.used

    async def _consume(self) -> None:
        async with self._broker.consume(queue_of(self._channel), self._settings.prefetch) as messages:
            async for received in messages:
                try:
                    request = decode_delivery(received.message.body)
                except UnreadableMessage as error:
                    await received.reject(error.message)
                    continue
                await self._slots.take(len(request.items))
                _ = self._messages.start(f"{self._channel.routing_key}:message", self._handle(received, request))

    async def _handle(self, received: Received, request: DeliveryRequested) -> None:
        """Process a message, as a span of the trace that it was sent in."""
        name, told = (
            f"process {queue_of(self._channel)}",
            message_attributes(self._channel, "process", len(request.items)),
        )
        parent = sane_traceparent(received.message.headers.get("traceparent"))
        with self._tracer.span(name, Kind.CONSUMER, told, parent=parent) as span:
            await self._start(received, request, span)

    async def _start(self, received: Received, request: DeliveryRequested, span: Span) -> None:
        """Claim a message's items, acknowledge it, and start what was claimed."""
        started = 0
        try:
            held = await self._claiming.submit(request.items)
            await received.ack()
            span.link(claim.traceparent for claim, _ in held)
            for claim, clock in held:
                _ = self._deliveries.start(f"deliver:{claim.id}", self._deliver(claim, clock))
                started += 1
        except asyncio.CancelledError:
            await received.requeue()
            raise
        except Exception as error:
            log.exception("a delivery message of %d could not be claimed", len(request.items))
            await received.reject(f"It could not be claimed: {type(error).__name__}")
        finally:
            self._slots.give_back(len(request.items) - started)

    async def _claim(self, lists: Sequence[Sequence[DeliveryItem]]) -> Sequence[list["_Held"] | Exception]:
        """One statement for all lists; when it is refused, one a list, so that a bad list fails alone."""
        try:
            return await self._claim_together(lists)
        except Exception as error:
            if len(lists) == 1:
                return [error]
        return [answer for items in lists for answer in await self._claim([items])]

    async def _claim_together(self, lists: Sequence[Sequence[DeliveryItem]]) -> list[list["_Held"]]:
        """A database that is away is waited for, with the messages unacknowledged."""
        wanted = {item.id: index for index, items in enumerate(lists) for item in items}
        items = [item for items in lists for item in items]
        answers: list[list[_Held]] = [[] for _ in lists]
        async for attempt in backoff(first=0.1, limit=5.0):
            asked_at = self._monotonic()
            try:
                claims = await self._claims.claim(items, self._settings.lease)
            except Unavailable as error:
                log.warning("%s waits for the database (attempt %d): %s", self._channel.routing_key, attempt, error)
                continue
            for claim in claims:
                clock = DatabaseClock(claim.claimed_at, asked_at, self._monotonic)
                answers[wanted[claim.id]].append((claim, clock))
            break
        return answers

    async def _deliver(self, claim: Claim, clock: DatabaseClock) -> None:
        message = traceparent.get()
        speak_of(claim.correlation_id, claim.id, claim.traceparent)
        slow = asyncio.get_running_loop().call_later(SLOW_CALL, self._report_sending, claim, clock)
        try:
            with self._tracer.span(
                "deliver", Kind.INTERNAL, about(claim), parent=claim.traceparent, links=[message]
            ) as span:
                result = await self._attempt(claim, clock)
                conclude(span, result)
            slow.cancel()
            tell(attempted(claim, result))
            if isinstance(result, HandBack):
                await self._hand_back(claim, clock, result)
            else:
                await self._finishing.submit(result)
        finally:
            slow.cancel()
            self._slots.give_back(1)

    async def _attempt(self, claim: Claim, clock: DatabaseClock) -> Settlement | HandBack:
        if claim.channel is not self._channel:
            log.warning("%s got %s, which is for %s", queue_of(self._channel), claim.id, claim.channel)
            return HandBack(claim, 0.0, "it was in the queue of another channel")
        try:
            return await deliver(claim, self._standings, self._sender, self._policy, clock, self._settings.deadline)
        except Unavailable as error:
            return HandBack(claim, DATABASE_PAUSE, error.message)

    async def _hand_back(self, claim: Claim, clock: DatabaseClock, result: HandBack) -> None:
        """Release the claim while it is ours: a lease that ends by itself counts as an attempt."""
        async for attempt in backoff(first=0.1, limit=2.0):
            try:
                return await self._claims.release([(claim.id, claim.token)], result.delay)
            except Unavailable as error:
                log.warning("%s cannot hand back a claim (attempt %d): %s", self._channel.routing_key, attempt, error)
                if clock.now() >= claim.lease_until:
                    return None
        return None

    def _report_sending(self, claim: Claim, clock: DatabaseClock) -> None:
        _ = self._deliveries.start(f"sending:{claim.id}", self._reporting.submit(sending(claim, clock.now())))

    async def _finish(self, settlements: Sequence[Settlement]) -> Sequence[Exception | None]:
        """Store the outcomes, then report them (rule R3)."""
        async for attempt in backoff(first=0.1, limit=2.0):
            try:
                await self._claims.settle(settlements)
                break
            except Unavailable as error:
                log.warning("%s cannot store outcomes (attempt %d): %s", self._channel.routing_key, attempt, error)
                if attempt >= SETTLE_ATTEMPTS:
                    break  # the leases are about to end; a reported fact is better than an unknown
            except Exception:
                if len(settlements) == 1:
                    raise
                return [answer for one in settlements for answer in await self._finish_alone(one)]
        await self._report([change for settlement in settlements for change in settlement.changes])
        return [None] * len(settlements)

    async def _finish_alone(self, settlement: Settlement) -> Sequence[Exception | None]:
        """The store refused a batch: a bad outcome must not take its neighbours along."""
        try:
            return await self._finish([settlement])
        except Exception as error:
            return [error]

    async def _report(self, changes: Sequence[StatusChanged]) -> Sequence[None]:
        """A report that does not get through is no loss: the dispatcher finds it on the claim."""
        lists = [changes[start : start + MAX_CHANGES] for start in range(0, len(changes), MAX_CHANGES)]
        given_up = [change for change in changes if change.status is Status.FAILED]
        publications: list[Publication] = [*report_publications(lists), *given_up_publications(given_up)]
        try:
            await self._broker.publish(publications)
        except Unavailable as error:
            log.warning("%d status changes are reported later: %s", len(changes), error)
        return [None] * len(changes)
