"""The instruments that count: the metrics of `domain.metrics` in this process's Prometheus registry.

A role makes those of its parts only, so that a worker does not claim to have no subscriptions.
"""

import asyncio
from collections import Counter as Tally
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache, cached_property

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from api.gateway.queue_watch import Level
from api.health import Dependency
from domain import metrics
from domain.concurrency import Tasks
from domain.events import Attempt
from domain.ids import moment_of
from domain.metrics import Metric
from domain.notification import Channel, Status
from domain.ports import LogRow
from domain.vitals import Vitals

LOOK_EVERY = 0.5
REMEMBERED = 20_000
"""Scheduled notifications on their way that the end-to-end latency remembers; beyond it the oldest are forgotten."""


def counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    """The instrument for a counter. Once a registry."""
    return Counter(metric.name, metric.help, metric.labels, registry=registry)


def gauge(metric: Metric, registry: CollectorRegistry) -> Gauge:
    """The instrument for a gauge. Once a registry."""
    return Gauge(metric.name, metric.help, metric.labels, registry=registry)


def histogram(metric: Metric, registry: CollectorRegistry) -> Histogram:
    """The instrument for a histogram. Once a registry."""
    return Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=registry)


class DependencyMeters:
    """What this role needs, as its last look found it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._up = gauge(metrics.DEPENDENCY_UP, registry)
        self._latency = gauge(metrics.DEPENDENCY_LATENCY, registry)

    def saw(self, found: Mapping[str, Dependency]) -> None:
        """Each dependency by its name."""
        for name, dependency in found.items():
            self._up.labels(name).set(dependency.status == "ok")
            self._latency.labels(name).set(dependency.latency_ms / 1000)


class HttpMeters:
    """How requests are answered."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = cache(counter(metrics.HTTP_REQUESTS, registry).labels)
        self._seconds = cache(histogram(metrics.HTTP_SECONDS, registry).labels)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request; `route` is the pattern of its path, so that there are few."""
        self._requests(method, route, str(status)).inc()
        self._seconds(route).observe(seconds)


class GraphQLMeters:
    """What came of the root fields of queries and mutations."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._operations = cache(counter(metrics.GRAPHQL_OPERATIONS, registry).labels)
        self._seconds = cache(histogram(metrics.GRAPHQL_SECONDS, registry).labels)

    def resolved(self, field: str, outcome: str, seconds: float) -> None:
        """One root field: `ok`, `refused` or `error`."""
        self._operations(field, outcome).inc()
        self._seconds(field).observe(seconds)


class CallMeters:
    """How calls of our other services go."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = cache(histogram(metrics.SERVICE_CALLS, registry).labels)

    def called(self, service: str, outcome: str, seconds: float) -> None:
        """One call: `ok`, `error` or `open`."""
        self._seconds(service, outcome).observe(seconds)


class FeedMeters:
    """What is open at this gateway, and how far behind the log it is; asked when somebody looks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def watch(self, subscriptions: Callable[[], int], sockets: Callable[[], int], lag: Callable[[], int]) -> None:
        """Once a registry."""
        for metric, ask in ((metrics.SUBSCRIPTIONS, subscriptions), (metrics.SOCKETS, sockets)):
            gauge(metric, self._registry).set_function(ask)
        gauge(metrics.FOLLOWER_LAG, self._registry).set_function(lag)


class QueueMeters:
    """What goes through the broker; a `workers.broker.metered.Tally`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._published = cache(counter(metrics.PUBLISHED, registry).labels)
        self._settled = cache(counter(metrics.CONSUMED, registry).labels)

    def published(self, queue: str, count: int) -> None:
        """So many messages are in this queue."""
        self._published(queue).inc(count)

    def settled(self, queue: str, how: str) -> None:
        """A message of this queue was settled."""
        self._settled(queue, how).inc()


class LevelMeters:
    """What waits in the queues, as a gateway sees it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._depth, self._consumers = gauge(metrics.DEPTH, registry), gauge(metrics.CONSUMERS, registry)
        self._lag, self._waiting = gauge(metrics.LAG, registry), gauge(metrics.WAITING, registry)

    def saw(self, level: Level) -> None:
        """One queue."""
        self._depth.labels(level.name).set(level.depth)
        self._consumers.labels(level.name).set(level.consumers)
        self._lag.labels(level.name).set(level.lag_seconds)
        self._waiting.labels(level.name).set(level.waiting)


class BreakerMeters:
    """Whether calls go through, asked when somebody looks."""

    _STATES: Mapping[str, int] = {"CLOSED": 0, "HALF_OPEN": 1, "OPEN": 2}

    def __init__(self, registry: CollectorRegistry) -> None:
        self._state = gauge(metrics.BREAKER, registry)

    def watch(self, name: str, channel: Channel | None, state: Callable[[], str]) -> None:
        """A breaker by the name of what it calls. Asked again by the same name, the last one counts."""
        told = self._state.labels(name, "" if channel is None else channel.value)
        told.set_function(lambda: self._STATES[state()])


class DeliveryMeters:
    """What the providers of the channels answered."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = cache(counter(metrics.ATTEMPTS, registry).labels)
        self._seconds = cache(histogram(metrics.ATTEMPT_SECONDS, registry).labels)
        self._in_hand = gauge(metrics.IN_HAND, registry)

    def attempted(self, channel: Channel, attempt: Attempt) -> None:
        """One call of one provider."""
        self._attempts(channel.value, attempt.provider, attempt.outcome.lower()).inc()
        self._seconds(channel.value, attempt.provider).observe(attempt.duration_ms / 1000)

    def watch(self, channel: Channel, in_hand: Callable[[], int]) -> None:
        """How many deliveries a worker has under way."""
        self._in_hand.labels(channel.value).set_function(in_hand)


class StatusMeters:
    """What this role wrote to the status log, and how long notifications took until SENT.

    The time begins when the notification was made, which its id tells, or when it left SCHEDULED.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._changes = cache(counter(metrics.STATUS_CHANGES, registry).labels)
        self._seconds = cache(histogram(metrics.END_TO_END, registry).labels)
        self._began: OrderedDict[str, datetime] = OrderedDict()

    def recorded(self, rows: Sequence[LogRow]) -> None:
        """Rows as they were committed, in order."""
        for (channel, status), count in Tally((row.channel, row.status) for row in rows).items():
            self._changes(channel.value, status.value).inc(count)
        for row in rows:
            self._time(row)

    def _time(self, row: LogRow) -> None:
        if row.status is Status.SENT:
            began = self._began.pop(row.notification_id, None) or moment_of(row.notification_id)
            self._seconds(row.channel.value).observe(max(0.0, (row.recorded_at - began).total_seconds()))
        elif row.previous_status is Status.SCHEDULED:
            self._began[row.notification_id] = row.recorded_at
            if len(self._began) > REMEMBERED:
                self._began.popitem(last=False)


class LoopMeter:
    """Looks how late the event loop is: a part of every role."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._late = histogram(metrics.LOOP_LAG, registry)
        self._tasks = Tasks()

    async def start(self) -> None:
        """Look from now on."""
        _ = self._tasks.supervise("meters: event loop", self._look)

    async def stop(self) -> None:
        """Look no more. May be called twice."""
        await self._tasks.cancel()

    async def _look(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            planned = clock() + LOOK_EVERY
            await asyncio.sleep(LOOK_EVERY)
            self._late.observe(max(0.0, clock() - planned))


class Meters:
    """The instruments of one process, each made when its part is."""

    def __init__(self) -> None:
        # A series beside each that says when it began: half as much again to scrape, and nothing of ours reads it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotation
        self.registry = CollectorRegistry()
        for collect in (ProcessCollector, GCCollector):
            collect(registry=self.registry)

    def tell_who(self, me: Vitals) -> None:
        """Say whose metrics these are. Once."""
        info = gauge(metrics.INFO, self.registry)
        for role in me.roles:
            info.labels(role, me.version, me.id).set(1)

    @cached_property
    def http(self) -> HttpMeters:
        """How requests are answered."""
        return HttpMeters(self.registry)

    @cached_property
    def graphql(self) -> GraphQLMeters:
        """What came of GraphQL's root fields."""
        return GraphQLMeters(self.registry)

    @cached_property
    def calls(self) -> CallMeters:
        """How calls of our other services go."""
        return CallMeters(self.registry)

    @cached_property
    def queues(self) -> QueueMeters:
        """What goes through the broker."""
        return QueueMeters(self.registry)

    @cached_property
    def levels(self) -> LevelMeters:
        """What waits in the queues."""
        return LevelMeters(self.registry)

    @cached_property
    def breakers(self) -> BreakerMeters:
        """Whether calls go through."""
        return BreakerMeters(self.registry)

    @cached_property
    def deliveries(self) -> DeliveryMeters:
        """What providers answered."""
        return DeliveryMeters(self.registry)

    @cached_property
    def statuses(self) -> StatusMeters:
        """What was written to the status log."""
        return StatusMeters(self.registry)

    @cached_property
    def feed(self) -> FeedMeters:
        """What is open at a gateway."""
        return FeedMeters(self.registry)

    @cached_property
    def loop(self) -> LoopMeter:
        """How late the event loop is."""
        return LoopMeter(self.registry)
