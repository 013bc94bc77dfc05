"""The dispatcher: publishes what is due (rule R2).

One loop a channel: take a batch of due rows (which moves their clocks, committed), publish their QUEUED and then their
delivery messages on one channel, confirmed. The database is the queue: only a small window of messages waits in the
broker, so a password reset overtakes a campaign. Nothing is lost when the broker is: the clocks bring the rows back.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from itertools import groupby

from domain.concurrency import Tasks, backoff
from domain.errors import Unavailable
from domain.events import MAX_CHANGES, MAX_DELIVERIES, DeliveryItem, DeliveryRequested, StatusChanged
from domain.life import tell
from domain.notification import BEFORE_QUEUED, Channel, Status
from domain.ports import Broker, Due, Outbox, Publication
from domain.tracing import UNTRACED, Kind, Tracer
from workers.broker.topology import queue_of
from workers.messages import delivery_publication, report_publications
from workers.telling import message_attributes, published

log = logging.getLogger(__name__)


class Dispatcher:
    """Publishes due notifications for as long as it runs.

    `redrive` (seconds) is how long a published row may stay unclaimed before it is published again, `poll` how often
    to look without a nudge, `batch` how many rows are taken at once, `window` how many messages may wait in a queue.
    """

    def __init__(
        self,
        outbox: Outbox,
        broker: Broker,
        *,
        redrive: float = 30.0,
        poll: float = 0.25,
        batch: int = 500,
        window: int = 100,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._outbox = outbox
        self._broker = broker
        self._redrive = redrive
        self._poll = poll
        self._batch = batch
        self._window = window
        self._tracer = tracer
        self._room = dict.fromkeys(Channel, 0)
        self._nudged = {channel: asyncio.Event() for channel in Channel}
        self._check_wiped = dict.fromkeys(Channel, True)
        self._tasks = Tasks()
        broker.on_connected(self._connected)

    def start(self) -> None:
        """Run until `stop`."""
        for channel in Channel:
            _ = self._tasks.supervise(f"dispatcher:{channel.routing_key}", partial(self._run, channel))

    async def stop(self) -> None:
        """Stop taking. What was taken and not published comes back by its clock."""
        await self._tasks.cancel()

    def nudge(self) -> None:
        """There is work: look at once."""
        for event in self._nudged.values():
            event.set()

    def _connected(self) -> None:
        self._check_wiped = dict.fromkeys(Channel, True)
        self.nudge()

    async def _run(self, channel: Channel) -> None:
        trouble = aiter(backoff(first=0.1, limit=5.0))
        while True:
            self._nudged[channel].clear()
            try:
                taken = await self._dispatch(channel)
            except Unavailable as error:
                log.warning("dispatching %s waits: %s", channel.routing_key, error)
                await anext(trouble)
                continue
            if taken < self._batch:
                trouble = aiter(backoff(first=0.1, limit=5.0))
                await self._wait(channel)

    async def _wait(self, channel: Channel) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll):
                await self._nudged[channel].wait()

    async def _dispatch(self, channel: Channel) -> int:
        """Take and publish one batch; how many rows it was."""
        if not self._broker.available or not await self._has_room(channel):
            return 0
        await self._expedite_if_wiped(channel)
        rows = await self._outbox.take_due(channel, self._batch, self._redrive)
        if rows:
            await self._publish(channel, rows)
        return len(rows)

    async def _publish(self, channel: Channel, rows: Sequence[Due]) -> None:
        with ExitStack() as spans:
            deliveries = [self._delivery(channel, group, spans) for group in _groups(rows)]
            self._room[channel] -= len(deliveries)
            try:
                await self._broker.publish([*report_publications(_changes(rows)), *deliveries])
            except Unavailable:
                await self._outbox.give_back(rows)
                raise
        tell(published(channel, rows))

    def _delivery(self, channel: Channel, rows: Sequence[Due], spans: ExitStack) -> Publication:
        """A message about these rows. It is a span of their trace, where they are all of one."""
        message = DeliveryRequested(
            channel=channel, priority=rows[0].priority, items=[DeliveryItem(row.id, row.attempt) for row in rows]
        )
        traces = {row.traceparent for row in rows}
        trace = next(iter(traces)) if len(traces) == 1 else None
        name, told = f"send {channel.routing_key}", message_attributes(channel, "send", len(rows))
        links = () if trace else traces
        span = spans.enter_context(self._tracer.span(name, Kind.PRODUCER, told, parent=trace, links=links))
        shared = {row.correlation_id for row in rows}
        return delivery_publication(
            message,
            correlation_id=shared.pop() if len(shared) == 1 else None,
            traceparent=span.traceparent or trace,
        )

    async def _has_room(self, channel: Channel) -> bool:
        """Ask the broker only when what we know of the queue would not do."""
        if self._room[channel] <= 0:
            depth = await self._broker.depth(queue_of(channel))
            self._room[channel] = self._window - depth.messages
        return self._room[channel] > 0

    async def _expedite_if_wiped(self, channel: Channel) -> None:
        """After a (re)connection: an empty queue may be one that lost everything, so publish again what it held."""
        if not self._check_wiped[channel]:
            return
        depth = await self._broker.depth(queue_of(channel))
        if depth.messages == 0 and (count := await self._outbox.expedite(channel)):
            log.info("%s is empty: %d published notifications are published again", queue_of(channel), count)
        self._check_wiped[channel] = False


def _changes(rows: Sequence[Due]) -> list[list[StatusChanged]]:
    """What goes to the status exchange: QUEUED for what is published, the stored outcome for what was settled."""
    changes: list[StatusChanged] = []
    for row in rows:
        if row.settled:
            changes.extend(row.settled)
        elif row.status in BEFORE_QUEUED:
            changes.append(
                StatusChanged(
                    notification_id=row.id, status=Status.QUEUED, occurred_at=row.taken_at, attempt=row.attempt
                )
            )
    return [changes[start : start + MAX_CHANGES] for start in range(0, len(changes), MAX_CHANGES)]


def _groups(rows: Sequence[Due]) -> Iterator[Sequence[Due]]:
    """Lists of one priority; what a worker died of travels alone, so that it cannot burn its neighbours."""
    unsettled = [row for row in rows if not row.settled]
    for row in unsettled:
        if row.revoked:
            yield [row]
    together = sorted((row for row in unsettled if not row.revoked), key=lambda row: row.priority.rank)
    for _, group in groupby(together, key=lambda row: row.priority):
        same = list(group)
        for start in range(0, len(same), MAX_DELIVERIES):
            yield same[start : start + MAX_DELIVERIES]
