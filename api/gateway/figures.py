"""The system in figures: queues, providers and instances, put together from what this gateway sees and hears."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from api.gateway.instances import Instances, Key, Recent, Seen
from api.gateway.queue_watch import Level, QueueWatch
from domain import metrics
from domain.notification import Channel

RATES = 10.0
"""Seconds that the queues' rates are averaged over."""
ANSWERS = 300.0
"""Seconds that the providers' answers are looked at for."""
EXPECTED = ("gateway", "users", "templates", "email", "push", "dispatch", "relay")
"""Roles that a system cannot do without; shown as down where nobody has one."""
SILENT = "silent"
_STATES = ("CLOSED", "HALF_OPEN", "OPEN")


class QueueFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One queue. Rates are messages a second over the last ten; a message carries up to 50 notifications."""

    name: str
    depth: int
    consumers: int
    waiting: int
    publish_rate: float
    deliver_rate: float
    lag_seconds: float


class ProviderFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One provider over all workers: the worst breaker, and how it answered in the last five minutes (None: it was not
    called). `success_rate` is from 0 to 1."""

    name: str
    channel: Channel
    breaker: str
    success_rate: float | None
    p95_ms: float | None


class InstanceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One process. `status` is `ok`, `degraded`, `down` or `silent`."""

    id: str
    url: str | None
    version: str
    started_at: datetime
    last_seen_at: datetime
    status: str


class ServiceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One role: `ok` while all of its instances are, `down` when none is well, else `degraded`."""

    name: str
    status: str
    instances: Sequence[InstanceFigures]


class SystemFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    queues: Sequence[QueueFigures]
    providers: Sequence[ProviderFigures]
    services: Sequence[ServiceFigures]


class Figures:
    """Puts the figures together; asks nobody, so it costs next to nothing and never fails."""

    def __init__(self, watch: QueueWatch, instances: Instances) -> None:
        self._watch, self._instances = watch, instances

    def now(self) -> SystemFigures:
        """As they are now."""
        recent = self._instances.recent
        return SystemFigures(
            queues=[_queue(level, recent) for level in self._watch.levels.values()],
            providers=self._providers(recent),
            services=_services(self._instances.seen()),
        )

    def _providers(self, recent: Recent) -> list[ProviderFigures]:
        states: dict[tuple[str, str], int] = {}
        for sample in self._instances.now(metrics.BREAKER):
            if channel := sample.labels["channel"]:
                known = channel, sample.labels["breaker"]
                states[known] = max(states.get(known, 0), int(sample.value))
        return [
            ProviderFigures(
                name=name,
                channel=Channel(channel),
                breaker=_STATES[state],
                success_rate=_success_rate(recent, channel, name),
                p95_ms=_p95_ms(recent.by(_BUCKET, ANSWERS, channel=channel, provider=name)),
            )
            for (channel, name), state in sorted(states.items())
        ]


_BUCKET = f"{metrics.ATTEMPT_SECONDS.name}_bucket"


def _queue(level: Level, recent: Recent) -> QueueFigures:
    published = recent.counted(metrics.PUBLISHED.name, RATES, queue=level.name)
    delivered = recent.counted(metrics.CONSUMED.name, RATES, queue=level.name, settled="ack")
    return QueueFigures(
        name=level.name,
        depth=level.depth,
        consumers=level.consumers,
        waiting=level.waiting,
        publish_rate=round(published / RATES, 2),
        deliver_rate=round(delivered / RATES, 2),
        lag_seconds=level.lag_seconds,
    )


def _success_rate(recent: Recent, channel: str, provider: str) -> float | None:
    answers = recent.by(metrics.ATTEMPTS.name, ANSWERS, channel=channel, provider=provider)
    every = sum(answers.values())
    accepted = sum(count for (_, labels), count in answers.items() if ("outcome", "accepted") in labels)
    return round(accepted / every, 4) if every else None


def _p95_ms(buckets: Mapping[Key, float]) -> float | None:
    """From a histogram's cumulative buckets, interpolated within the one that it is in, as Prometheus does."""
    bounds = sorted((_bound(labels), count) for (_, labels), count in buckets.items())
    if not bounds:
        return None
    wanted = 0.95 * bounds[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in bounds:
        if count >= wanted:
            within = lower if math.isinf(bound) else lower + (bound - lower) * (wanted - below) / (count - below)
            return round(within * 1000, 2)
        lower, below = bound, count
    return None


def _bound(labels: Iterable[tuple[str, str]]) -> float:
    return float(dict(labels)["le"])


def _services(seen: Sequence[Seen]) -> list[ServiceFigures]:
    found: dict[str, list[InstanceFigures]] = defaultdict(list)
    for one in seen:
        for role in one.vitals.roles:
            found[role].append(_instance(one))
    names = [*EXPECTED, *sorted(found.keys() - set(EXPECTED))]
    return [ServiceFigures(name=name, status=_status(found[name]), instances=found[name]) for name in names]


def _instance(one: Seen) -> InstanceFigures:
    vitals = one.vitals
    return InstanceFigures(
        id=vitals.id,
        url=vitals.url,
        version=vitals.version,
        started_at=vitals.started_at,
        last_seen_at=vitals.seen_at,
        status=SILENT if one.silent else vitals.status,
    )


def _status(instances: Sequence[InstanceFigures]) -> str:
    well = [one.status in ("ok", "degraded") for one in instances]
    if not any(well):
        return "down"
    return "ok" if all(one.status == "ok" for one in instances) else "degraded"
