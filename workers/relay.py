"""The relay: status exchange -> status log -> feed.

It is the single active consumer of `status.queue`, so order holds. What has gathered while the last batch was written
goes as one transaction; then the bell is rung, then the messages are acknowledged. Redelivery is harmless. It also
keeps what nobody could read: the messages of `failed.queue` become dead letters that operators see.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from domain.channels import STATUS_CHANNEL
from domain.concurrency import Batcher, Tasks, backoff
from domain.doorbell import encode_head, encode_parts
from domain.errors import Unavailable, UnreadableMessage
from domain.events import DELIVERY_FAILED, StatusChanged, decode_report
from domain.life import tell, tell_recorded
from domain.notification import Status
from domain.ports import Bell, Broker, DeadMessage, LogRow, Message, Received, Recorded, StatusLog, StatusStore
from domain.text import cleaned, storable
from domain.tracing import UNTRACED, Tracer
from workers.broker.topology import FAILED_QUEUE, HEADER_ORIGINAL_QUEUE, HEADER_REASON, STATUS_QUEUE
from workers.telling import ignored, trace_recorded

log = logging.getLogger(__name__)

MESSAGES_A_BATCH = 50
GATHER = 0.003
LONGEST_MESSAGE_ID = 128
LONGEST_QUEUE_NAME = 80

T = TypeVar("T")


class Relay:
    """Writes what is reported, and tells the gateways. `heartbeat` is in seconds. `on_recorded` is told what was
    written, and must neither raise nor block."""

    def __init__(
        self,
        broker: Broker,
        store: StatusStore,
        status_log: StatusLog,
        bell: Bell,
        *,
        heartbeat: float = 1.0,
        on_recorded: Callable[[Sequence[LogRow]], None] = lambda rows: None,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._broker = broker
        self._store = store
        self._log = status_log
        self._bell = bell
        self._heartbeat = heartbeat
        self._on_recorded = on_recorded
        self._tracer = tracer
        self._batches: Batcher[Sequence[StatusChanged], None] = Batcher(
            self._record, limit=MESSAGES_A_BATCH, gather=GATHER, name="relay:record"
        )
        self._loops = Tasks()
        self._messages = Tasks()

    def start(self) -> None:
        """Run until `stop`."""
        _ = self._loops.supervise("relay:status", self._consume)
        _ = self._loops.supervise("relay:failed", self._consume_failed)
        _ = self._loops.supervise("relay:heartbeat", self._beat)

    async def stop(self, seconds: float = 10.0) -> None:
        """Stop consuming, write what was taken; the rest goes back to the queue."""
        await self._loops.cancel()
        await self._messages.drain(seconds)
        await self._batches.drain(seconds)

    async def _consume(self) -> None:
        async with self._broker.consume(STATUS_QUEUE, 2 * MESSAGES_A_BATCH) as messages:
            async for received in messages:
                try:
                    report = decode_report(received.message.body)
                except UnreadableMessage as error:
                    await received.reject(error.message)
                    continue
                _ = self._messages.start("relay:message", self._handle(received, report.changes))

    async def _handle(self, received: Received, changes: Sequence[StatusChanged]) -> None:
        try:
            await self._batches.submit(changes)
            await received.ack()
        except Exception as error:
            # The rows bring their outcomes again; here nothing may stay unsettled, or the queue stands still.
            log.exception("a report of %d changes could not be recorded", len(changes))
            await received.reject(f"It could not be recorded: {type(error).__name__}")

    async def _record(self, batch: Sequence[Sequence[StatusChanged]]) -> Sequence[None]:
        changes = [change for part in batch for change in part]
        began = time.time_ns()
        try:
            self._announce(await _patiently(lambda: self._store.record(changes)), began)
        except Exception:
            log.exception("a batch of %d changes was refused; each is tried alone", len(changes))
            await self._record_each(changes)
        return [None] * len(batch)

    async def _record_each(self, changes: Sequence[StatusChanged]) -> None:
        """A bad change is set aside as a dead letter and the rest is recorded."""
        for change in changes:
            began = time.time_ns()
            try:
                self._announce(await _patiently(partial(self._store.record, [change])), began)
            except Exception as error:
                body = msgspec.json.encode(change)
                letter = DeadMessage(
                    message_id=_identity(f"{change.notification_id}:{change.attempt}:{change.status}", body),
                    queue=STATUS_QUEUE,
                    reason=f"It could not be recorded: {type(error).__name__}",
                    body=body,
                )
                await self._keep(letter)

    def _announce(self, recorded: Recorded, began: int) -> None:
        trace_recorded(self._tracer, recorded, began)
        tell_recorded(recorded.rows)
        for payload in encode_parts(recorded.rows):
            self._bell.ring(STATUS_CHANNEL, payload)
        self._on_recorded(recorded.rows)
        for change, why in recorded.ignored:
            # That a claim overtakes its QUEUED is everyday; anything else is worth a line.
            level = logging.DEBUG if change.status is Status.QUEUED else logging.INFO
            tell([ignored(change, why)], level)

    async def _consume_failed(self) -> None:
        async with self._broker.consume(FAILED_QUEUE, MESSAGES_A_BATCH) as messages:
            async for received in messages:
                if received.message.type != DELIVERY_FAILED:
                    await self._keep(_letter_of(received.message))
                await received.ack()

    async def _keep(self, letter: DeadMessage) -> None:
        """This is the last stop: what cannot even be kept must neither come back for ever nor harm its neighbours."""
        log.warning("a message of %s is kept as a dead letter: %s", letter.queue, letter.reason)
        try:
            await _patiently(lambda: self._store.record_dead_letter(letter))
        except Exception:
            log.exception("a dead letter of %d bytes from %s cannot be kept", len(letter.body), letter.queue)

    async def _beat(self) -> None:
        """A lost tail is seen by comparing: the heartbeat carries the last position."""
        while True:
            self._bell.ring(STATUS_CHANNEL, encode_head(await self._log.head()))
            await asyncio.sleep(self._heartbeat)


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Do it again for as long as the database is away; every other error passes."""
    async for attempt in backoff(first=0.1, limit=5.0):
        try:
            return await work()
        except Unavailable as error:
            log.warning("the relay waits for the database (attempt %d): %s", attempt, error)
    raise AssertionError("unreachable: backoff never ends")


def _letter_of(message: Message) -> DeadMessage:
    """What a stranger sent, made storable."""
    queue = message.headers.get(HEADER_ORIGINAL_QUEUE, FAILED_QUEUE)[:LONGEST_QUEUE_NAME]
    reason = message.headers.get(HEADER_REASON, "it was dead-lettered by the broker")
    return DeadMessage(
        message_id=_identity(message.message_id, message.body),
        queue=cleaned(queue) or FAILED_QUEUE,
        reason=cleaned(reason) or "no reason was given",
        body=message.body,
    )


def _identity(given: str, body: bytes) -> str:
    """What tells this message from others; a stranger may have left the id out, or written a novel."""
    if 0 < len(given) <= LONGEST_MESSAGE_ID and storable(given):
        return given
    return hashlib.sha256(given.encode("utf-8", "replace") + b"\0" + body).hexdigest()
