"""Who lives, and what they did lately: the signs of life of all instances, as one gateway has heard them."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from domain.channels import VITALS_CHANNEL
from domain.concurrency import Tasks
from domain.metrics import Metric
from domain.ports import Bell
from domain.vitals import STOPPED, Sample, Vitals, decode

SILENT = 10.0
"""Seconds without a sign of life after which an instance is shown as silent: some five of them are missing."""
FORGOTTEN = 120.0
"""Seconds after which a silent instance is shown no more."""
SLOT = 2.0
MEMORY = 300.0
"""Seconds that are remembered of what was counted."""
MAX_INSTANCES = 1_000

Key = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name and its labels."""


class Seen(msgspec.Struct, frozen=True):
    """An instance as it was last heard of. `silent`: it says nothing any more."""

    vitals: Vitals
    silent: bool


class Instances:
    """Listens to the signs of life. `clock` is monotonic, in seconds."""

    def __init__(self, bell: Bell, clock: Callable[[], float] = time.monotonic) -> None:
        self._bell, self._clock = bell, clock
        self._heard: dict[str, tuple[float, Vitals]] = {}
        self.recent = Recent(clock)
        self._tasks = Tasks()

    async def start(self) -> None:
        """Listen from now on."""
        _ = self._tasks.supervise("instances: ear", self._listen)

    async def stop(self) -> None:
        """Listen no more. May be called twice."""
        await self._tasks.cancel()

    def hear(self, payload: bytes) -> None:
        """One sign of life; anything else is passed over."""
        vitals = decode(payload)
        if vitals is None:
            return
        before = self._heard.pop(vitals.id, None)
        if before is not None:
            self.recent.add(before[1].samples, vitals.samples)
        if vitals.status != STOPPED and len(self._heard) < MAX_INSTANCES:
            self._heard[vitals.id] = (self._clock(), vitals)

    def seen(self) -> Sequence[Seen]:
        """All instances that were heard of lately, the oldest first."""
        now = self._clock()
        for id, (at, _) in list(self._heard.items()):
            if now - at > FORGOTTEN:
                del self._heard[id]
        ages = [(now - at, vitals) for at, vitals in self._heard.values()]
        return [Seen(vitals, age > SILENT) for age, vitals in sorted(ages, key=lambda each: each[1].id)]

    def now(self, metric: Metric) -> list[Sample]:
        """A gauge as it stands in each instance that lives."""
        live = (one.vitals for one in self.seen() if not one.silent)
        return [sample for vitals in live for sample in vitals.samples if sample.name == metric.name]

    async def _listen(self) -> None:
        async with self._bell.listen(VITALS_CHANNEL) as rings:
            async for payload in rings:
                self.hear(payload)


class Recent:
    """How much was counted lately, by all instances together: sums in slots of some seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._slots: deque[tuple[float, dict[Key, float]]] = deque(maxlen=int(MEMORY / SLOT))

    def add(self, before: Iterable[Sample], after: Iterable[Sample]) -> None:
        """What one instance counted between two signs of life."""
        stood = {_key(sample): sample.value for sample in before}
        slot = self._slot()
        for sample in after:
            key = _key(sample)
            if (grown := sample.value - stood.get(key, 0.0)) > 0:
                slot[key] = slot.get(key, 0.0) + grown

    def counted(self, name: str, seconds: float, **labels: str) -> float:
        """How much a counter has grown in the last `seconds`, over all series that have these labels."""
        return sum(self.by(name, seconds, **labels).values())

    def by(self, name: str, seconds: float, **labels: str) -> Mapping[Key, float]:
        """Likewise, each series for itself."""
        wanted, since = set(labels.items()), self._clock() - seconds
        found: dict[Key, float] = {}
        for at, slot in self._slots:
            if at >= since:
                for key, grown in slot.items():
                    if key[0] == name and wanted.issubset(key[1]):
                        found[key] = found.get(key, 0.0) + grown
        return found

    def age_of(self, name: str, count: float, **labels: str) -> float | None:
        """Seconds since the counter stood `count` lower than now; None when that is longer ago than is remembered."""
        wanted = set(labels.items())
        for at, slot in reversed(self._slots):
            count -= sum(grown for key, grown in slot.items() if key[0] == name and wanted.issubset(key[1]))
            if count <= 0:
                return max(0.0, self._clock() - at)
        return None

    def _slot(self) -> dict[Key, float]:
        now = self._clock()
        if not self._slots or now - self._slots[-1][0] >= SLOT:
            self._slots.append((now, {}))
        return self._slots[-1][1]


def _key(sample: Sample) -> Key:
    return sample.name, tuple(sorted(sample.labels.items()))
