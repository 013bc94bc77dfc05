"""What a client of another service remembers: in process, and together with all other processes in the shared cache.

Asking goes from the near to the far: what is fresh in process, what is fresh in the shared cache, the owner. While the
owner is away, what it said last stands in, and is said to be stale.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Generic, TypeVar

import msgspec

from api.changes import cache_key
from domain.changes import Kind
from domain.concurrency import Tasks
from domain.errors import HeliographError, UpstreamUnavailable
from domain.ports import Cache, Known

KEEP = 24 * 3600.0
"""Seconds for which the shared cache keeps what may have to stand in."""
_FOR_EVER = float("inf")

V = TypeVar("V")
Ask = Callable[[Sequence[str]], Awaitable[Mapping[str, V]]]
"""Asks the owner: those that exist, by name. Raises `UpstreamUnavailable`, or what else the owner has to say."""


class _Entry(msgspec.Struct, Generic[V]):
    known: Known[V]
    fresh_until: float
    ends_at: float


class ClientCache(Generic[V]):
    """Up to `size` values in this process, the last used ones. Fresh for `ttl` seconds; stands in for `stale` more."""

    def __init__(self, *, size: int, ttl: float, stale: float, clock: Callable[[], float] = monotonic) -> None:
        self._size, self._ttl, self._stale, self._clock = size, ttl, stale, clock
        self._entries: OrderedDict[str, _Entry[V]] = OrderedDict()
        self._dropped: OrderedDict[str, int] = OrderedDict()
        self._all_dropped = 0
        self.generation = 0
        """Counts changes: what was asked for before one must not be kept after it."""

    def fresh(self, name: str) -> Known[V] | None:
        """The value, if it need not be asked for; stale where it already stands in."""
        entry = self._entries.get(name)
        if entry is None or self._clock() >= entry.fresh_until:
            return None
        self._entries.move_to_end(name)
        return entry.known

    def stand_in(self, name: str) -> Known[V] | None:
        """The value while its owner is away; it counts as fresh for another `ttl`, so that not everybody waits."""
        entry = self._entries.get(name)
        now = self._clock()
        if entry is None or now >= entry.ends_at:
            return None
        entry.known = Known(entry.known.value, stale=True)
        entry.fresh_until = now + self._ttl
        return entry.known

    def keep(self, name: str, known: Known[V], since: int, *, for_good: bool = False) -> None:
        """Remember a value that was asked for in generation `since`, unless it has changed meanwhile."""
        if self.has_changed(name, since):
            return
        fresh_until = _FOR_EVER if for_good else self._clock() + self._ttl
        self._entries[name] = _Entry(known, fresh_until, fresh_until + self._stale)
        self._entries.move_to_end(name)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def has_changed(self, name: str, since: int) -> bool:
        """Whether a value was dropped, or all were doubted, after generation `since`."""
        return max(self._all_dropped, self._dropped.get(name, 0)) > since

    def drop(self, name: str) -> None:
        """Forget a value that has changed or is gone, also where it is being asked for."""
        self.generation += 1
        self._dropped[name] = self.generation
        self._dropped.move_to_end(name)
        while len(self._dropped) > self._size:
            self._all_dropped = self._dropped.popitem(last=False)[1]
        self._entries.pop(name, None)

    def doubt(self) -> None:
        """Any value may have changed, but for those kept for good: ask again. Until then they may stand in."""
        self.generation += 1
        self._all_dropped = self.generation
        for entry in self._entries.values():
            if entry.fresh_until < _FOR_EVER:
                entry.fresh_until = 0.0


class SharedCache(Generic[V]):
    """Values of one kind in the shared cache, as msgspec's JSON. Younger than `ttl` seconds they are fresh.

    What cannot be read, because another version of us wrote it, is not there. Without a cache nothing ever is.
    """

    def __init__(self, cache: Cache | None, kind: Kind, type: type[V], *, ttl: float) -> None:
        self._cache, self._kind, self._ttl = cache, kind, ttl
        self._decoder = msgspec.json.Decoder(type)

    async def get(self, names: Iterable[str]) -> dict[str, Known[V]]:
        """Those that are there, by name; old ones are stale."""
        if self._cache is None:
            return {}
        keys = {cache_key(self._kind, name): name for name in names}
        found = {}
        for key, cached in (await self._cache.get(list(keys))).items():
            try:
                value = self._decoder.decode(cached.value)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            found[keys[key]] = Known(value, stale=cached.age >= self._ttl)
        return found

    async def put(self, values: Mapping[str, V]) -> None:
        """Remember what the owner said just now."""
        if self._cache is not None and values:
            items = {cache_key(self._kind, name): msgspec.json.encode(value) for name, value in values.items()}
            await self._cache.put(items, KEEP)

    async def drop(self, names: Iterable[str]) -> None:
        """Forget these."""
        if self._cache is not None and (keys := [cache_key(self._kind, name) for name in names]):
            await self._cache.drop(keys)


class Memory(Generic[V]):
    """All that a client remembers of one kind of thing, near and far.

    `lasts` tells which values never change once they are known: they are remembered for good, and only they are shared.
    Without it everything may change, and everything is shared.
    """

    def __init__(
        self, near: ClientCache[V], shared: SharedCache[V], *, lasts: Callable[[V], bool] | None = None
    ) -> None:
        self._near, self._shared, self._lasts = near, shared, lasts
        self._loading: dict[str, asyncio.Task[Known[V] | HeliographError | None]] = {}
        self._tasks = Tasks()

    def fresh(self, name: str) -> Known[V] | None:
        """The value, if this process need not ask for it."""
        return self._near.fresh(name)

    async def get(self, name: str, ask: Ask[V]) -> Known[V] | None:
        """One value; None if it does not exist. Callers who ask for it at the same time cause one call.

        Raises what `ask` raises, unless a remembered value can stand in.
        """
        if (found := self.fresh(name)) is not None:
            return found
        task = self._loading.get(name)
        if task is None:
            task = self._loading[name] = self._tasks.start("client cache", self._load(name, ask))
        # One caller that gives up must not take the answer from the others.
        result = await asyncio.shield(task)
        if isinstance(result, HeliographError):
            raise result
        return result

    async def recall(self, names: Sequence[str], ask: Ask[V]) -> list[Known[V] | UpstreamUnavailable | None]:
        """Each value, None where it does not exist: one call to the shared cache, and one to the owner for the rest.

        While the owner is away, the error is in place of each value that nobody remembers. Raises what else `ask` does.
        """
        since = self._near.generation
        shared = await self._shared.get(names)
        known = {name: found for name, found in shared.items() if not found.stale}
        self._keep(known, since)
        if rest := [name for name in dict.fromkeys(names) if name not in known]:
            try:
                answer = await ask(rest)
            except UpstreamUnavailable as error:
                stand_ins = {name: self._stand_in(name, shared.get(name), since) or error for name in rest}
                return [known.get(name) or stand_ins[name] for name in names]
            known.update(await self._learn(rest, answer, shared, since))
        return [known.get(name) for name in names]

    async def learn(self, values: Mapping[str, V], since: int) -> None:
        """Remember what the owner said when it was asked in generation `since`."""
        self._keep({name: Known(value) for name, value in values.items()}, since)
        await self._shared.put(
            {
                name: value
                for name, value in values.items()
                if (self._lasts is None or self._lasts(value)) and not self._near.has_changed(name, since)
            }
        )

    @property
    def generation(self) -> int:
        """Counts changes; see `learn`."""
        return self._near.generation

    def drop(self, name: str) -> None:
        """Forget a value in this process because it has changed. The owner has the shared cache forget it."""
        self._loading.pop(name, None)
        self._near.drop(name)

    def doubt(self) -> None:
        """Any value may have changed: ask again, and let the old one stand in until there is an answer."""
        self._loading.clear()
        self._near.doubt()

    async def _load(self, name: str, ask: Ask[V]) -> Known[V] | HeliographError | None:
        this = asyncio.current_task()
        try:
            return (await self.recall([name], ask))[0]
        except HeliographError as error:
            return error
        finally:
            if self._loading.get(name) is this:
                del self._loading[name]

    async def _learn(
        self, asked: Sequence[str], answer: Mapping[str, V], shared: Mapping[str, Known[V]], since: int
    ) -> dict[str, Known[V]]:
        gone = [name for name in asked if name not in answer]
        for name in gone:
            self._near.drop(name)  # nor may an older answer that is still under way bring it back
        await self._shared.drop([name for name in gone if name in shared])
        await self.learn(answer, since)
        return {name: Known(value) for name, value in answer.items()}

    def _keep(self, known: Mapping[str, Known[V]], since: int) -> None:
        for name, found in known.items():
            for_good = self._lasts is not None and self._lasts(found.value)
            self._near.keep(name, found, since, for_good=for_good)

    def _stand_in(self, name: str, shared: Known[V] | None, since: int) -> Known[V] | None:
        near = self._near.stand_in(name)
        if near is None and shared is not None:
            self._near.keep(name, shared, since)
        return near or shared
