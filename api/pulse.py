"""The pulse of an instance: it looks after itself every few seconds and tells the gateways how it does."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
from prometheus_client import CollectorRegistry

from api.health import Checkup
from api.meters import DependencyMeters
from domain import metrics, vitals
from domain.channels import VITALS_CHANNEL
from domain.concurrency import Tasks
from domain.metrics import Metric
from domain.ports import Bell
from domain.vitals import STOPPED, Sample, Vitals

EVERY = 2.0
"""Seconds between two beats."""
TOLD: tuple[Metric, ...] = (
    metrics.PUBLISHED,
    metrics.CONSUMED,
    metrics.ATTEMPTS,
    metrics.ATTEMPT_SECONDS,
    metrics.BREAKER,
)
"""What the gateways need of an instance's metrics to show all instances as one system."""


class Pulse:
    """Beats until `stop`. What it tells is what /health and /metrics of the instance say."""

    def __init__(
        self,
        me: Vitals,
        checkup: Checkup,
        bell: Bell,
        registry: CollectorRegistry,
        *,
        every: float = EVERY,
    ) -> None:
        """`me` says who it is; `registry` is where its metrics are, and those of its dependencies go."""
        self._me, self._checkup, self._bell, self._registry, self._every = me, checkup, bell, registry, every
        self._dependencies = DependencyMeters(registry)
        self._tasks = Tasks()

    async def start(self) -> None:
        """Beat from now on."""
        _ = self._tasks.supervise("pulse", self._run)

    async def stop(self) -> None:
        """Say goodbye, as far as anybody hears. May be called twice."""
        await self._tasks.cancel()
        self._tell(STOPPED)

    async def beat(self) -> None:
        """Look and tell, once. Takes two seconds at most."""
        found = await self._checkup.look()
        self._dependencies.saw(found)
        self._tell(self._checkup.status(found))

    async def _run(self) -> None:
        while True:
            await self.beat()
            await asyncio.sleep(self._every)

    def _tell(self, status: str) -> None:
        samples = tuple(samples_of(self._registry))
        now = msgspec.structs.replace(self._me, seen_at=datetime.now(UTC), status=status, samples=samples)
        self._bell.ring(VITALS_CHANNEL, vitals.encode(now))


def samples_of(registry: CollectorRegistry) -> Iterator[Sample]:
    """The numbers that gateways are told of."""
    names = [f"{metric.name}_bucket" if metric.kind == "histogram" else metric.name for metric in TOLD]
    for family in registry.restricted_registry(names).collect():
        for sample in family.samples:
            yield Sample(sample.name, dict(sample.labels), sample.value)
