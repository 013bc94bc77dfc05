"""What a client of another service remembers: fresh for a moment, good enough for an hour while the service is away."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

from domain.concurrency import Tasks
from domain.errors import HeliographError, UpstreamUnavailable

K = TypeVar("K")
V = TypeVar("V")


class ClientCache(Generic[K, V]):
    """Up to `size` values, the last used ones. Fresh for `ttl` seconds; served for up to `stale` while away.

    Callers who ask for one missing value at the same time cause one call.
    """

    def __init__(self, *, size: int, ttl: float, stale: float, clock: Callable[[], float] = monotonic) -> None:
        self._size, self._ttl, self._stale, self._clock = size, ttl, stale, clock
        self._entries: OrderedDict[K, tuple[V, float, float]] = OrderedDict()
        self._loading: dict[K, asyncio.Task[V | HeliographError]] = {}
        self._tasks = Tasks()
        self.generation = 0
        """Counts invalidations: what was asked for before one must not be kept after it."""

    def fresh(self, key: K) -> V | None:
        """The value, if it need not be asked for."""
        entry = self._entries.get(key)
        if entry is None or self._clock() >= entry[1]:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def stale(self, key: K) -> V | None:
        """The value while its owner is away; it counts as fresh for another `ttl`, so that not everybody waits."""
        entry = self._entries.get(key)
        now = self._clock()
        if entry is None or now >= entry[2]:
            return None
        self._entries[key] = (entry[0], now + self._ttl, entry[2])
        return entry[0]

    def keep(self, key: K, value: V, generation: int | None = None) -> None:
        """Remember a value, unless something was invalidated since `generation`."""
        if generation is not None and generation != self.generation:
            return
        now = self._clock()
        self._entries[key] = (value, now + self._ttl, now + self._ttl + self._stale)
        self._entries.move_to_end(key)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def drop(self, key: K) -> None:
        """Forget a value that has changed, also where it is being asked for."""
        self.generation += 1
        self._loading.pop(key, None)
        self.discard(key)

    def discard(self, key: K) -> None:
        """Forget a value that turned out not to exist."""
        self._entries.pop(key, None)

    async def get(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        """The value, from here or from `load`. Passes on what `load` raises, unless a stale value can stand in."""
        found = self.fresh(key)
        if found is not None:
            return found
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = self._tasks.start("client cache", self._load(key, load))
        # One caller that gives up must not take the answer from the others.
        result = await asyncio.shield(task)
        if isinstance(result, HeliographError):
            raise result
        return result

    async def _load(self, key: K, load: Callable[[], Awaitable[V]]) -> V | HeliographError:
        generation = self.generation
        this = asyncio.current_task()
        try:
            value = await load()
        except UpstreamUnavailable as error:
            held = self.stale(key)
            return error if held is None else held
        except HeliographError as error:
            self.discard(key)
            return error
        finally:
            if self._loading.get(key) is this:
                del self._loading[key]
        self.keep(key, value, generation)
        return value
