"""The shared cache: what many processes remember together. `MemoryCache` within one process, `RedisCache` beyond.

It holds no truth. A reader that was slow must not bring back what has changed meanwhile, so a key that is dropped
cannot be put again for a moment: by then everybody who had read the old value has given up or been told.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from domain.errors import ConfigurationError
from domain.ports import Cached
from workers.resilience import Breaker, only_errors

TOMBSTONE = 10.0
"""Seconds for which a dropped key cannot be put; longer than any call whose answer might be put."""
DEADLINE = 0.25
"""Seconds for one exchange with Redis, a connection included."""
AWAY = 1.5
"""Seconds for which a Redis that failed is not asked."""
CONNECTIONS = 16

T = TypeVar("T")

log = logging.getLogger(__name__)


class _Entry(msgspec.Struct):
    value: bytes
    put_at: float
    ends_at: float


class MemoryCache:
    """A `domain.ports.Cache` of one process: up to `size` entries, the last used ones. `clock` counts seconds."""

    def __init__(self, size: int, *, tombstone: float = TOMBSTONE, clock: Callable[[], float] = monotonic) -> None:
        self._size, self._tombstone, self._clock = size, tombstone, clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._dropped: OrderedDict[str, float] = OrderedDict()

    async def get(self, keys: Sequence[str]) -> Mapping[str, Cached]:
        """Those that are there."""
        now = self._clock()
        found = {}
        for key in keys:
            entry = self._entries.get(key)
            if entry is not None and now < entry.ends_at:
                self._entries.move_to_end(key)
                found[key] = Cached(entry.value, now - entry.put_at)
        return found

    async def put(self, items: Mapping[str, bytes], keep: float) -> None:
        """Remember these for `keep` seconds, but for those dropped within the last `tombstone` seconds."""
        now = self._clock()
        for key, value in items.items():
            if now >= self._dropped.get(key, now):
                self._entries[key] = _Entry(value, now, now + keep)
                self._entries.move_to_end(key)
        _shrink(self._entries, self._size)

    async def drop(self, keys: Sequence[str]) -> None:
        """Forget these."""
        until = self._clock() + self._tombstone
        for key in keys:
            self._entries.pop(key, None)
            self._dropped[key] = until
            self._dropped.move_to_end(key)
        _shrink(self._dropped, self._size)

    async def close(self) -> None:
        """Nothing to let go of."""


def _shrink(entries: OrderedDict[str, Any], size: int) -> None:
    while len(entries) > size:
        entries.popitem(last=False)


# ---------------------------------------------------------------------------------------------------------- on Redis

_STAMP = 16
"""A value in Redis begins with the time when it was put there by Redis's clock: microseconds, in so many digits."""
_PUT = """
local time = redis.call('TIME')
local stamp = time[1] .. string.format('%06d', time[2])
for index, key in ipairs(KEYS) do
  local dropped = redis.call('EXISTS', key) == 1 and redis.call('STRLEN', key) == 0
  if not dropped then
    redis.call('SET', key, stamp .. ARGV[index + 1], 'PX', ARGV[1])
  end
end
"""
_DROPPED = b""
"""What a dropped key holds for a while: nothing can be put over it."""
_FAILURES = (RedisError, OSError, TimeoutError)


class RedisCache:
    """A `domain.ports.Cache` on one Redis database, each key behind `prefix`.

    While Redis is away nothing is found and nothing is kept: it is asked again every `AWAY` seconds, by one caller,
    who waits for at most `DEADLINE`. An entry's age is told by Redis's own clock.
    """

    def __init__(self, url: str, prefix: str = "heliograph:cache:", *, tombstone: float = TOMBSTONE) -> None:
        """`url` is `redis://` or `rediss://`; raises `ConfigurationError` for any other. Opens nothing."""
        self._redis = _client(url)
        self._prefix, self._tombstone = prefix, _milliseconds(tombstone)
        self._breaker = Breaker("cache", fail_max=1, reset_after=AWAY, counts=only_errors)

    async def get(self, keys: Sequence[str]) -> Mapping[str, Cached]:
        """Those that are there. Never raises: while Redis is away there are none."""
        return await self._ask(partial(self._get, keys), {}) if keys else {}

    async def put(self, items: Mapping[str, bytes], keep: float) -> None:
        """Remember these for `keep` seconds, but for those dropped within the last `tombstone` seconds."""
        if items:
            names = [self._name(key) for key in items]
            words = ["EVAL", _PUT, len(names), *names, _milliseconds(keep), *items.values()]
            await self._ask(partial(self._redis.execute_command, *words), None)

    async def drop(self, keys: Sequence[str]) -> None:
        """Forget these. While Redis is away it goes on remembering them."""
        if keys:
            await self._ask(partial(self._drop, keys), None)

    async def close(self) -> None:
        """Let go of the connections. May be called twice."""
        await self._redis.aclose()

    async def _get(self, keys: Sequence[str]) -> Mapping[str, Cached]:
        async with self._redis.pipeline(transaction=False) as pipe:
            _ = pipe.time()
            _ = pipe.mget([self._name(key) for key in keys])
            (seconds, microseconds), values = await pipe.execute()
        now = seconds * 1_000_000 + microseconds
        found = {key: _cached(value, now) for key, value in zip(keys, values, strict=True)}
        return {key: cached for key, cached in found.items() if cached is not None}

    async def _drop(self, keys: Sequence[str]) -> None:
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                _ = pipe.set(self._name(key), _DROPPED, px=self._tombstone)
            await pipe.execute()

    def _name(self, key: str) -> bytes:
        # A caller's text may be no text at all; then it names nothing, which is no reason to fail.
        return (self._prefix + key).encode("utf-8", "surrogatepass")

    async def _ask(self, do: Callable[[], Awaitable[T]], otherwise: T) -> T:
        if not self._breaker.allows():
            return otherwise
        try:
            return await self._breaker.call(partial(_in_time, do))
        except _FAILURES as error:
            log.debug("the shared cache did not answer: %r", error)
            return otherwise


async def _in_time(do: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(DEADLINE):
        return await do()


def _cached(value: bytes | None, now: int) -> Cached | None:
    """None for what is not there, was dropped, or is not ours."""
    if value is None or not (stamp := value[:_STAMP]).isdigit():
        return None
    # A clock that was set back makes nothing younger than new.
    return Cached(value[_STAMP:], max(0, now - int(stamp)) / 1_000_000)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _client(url: str) -> Redis:
    """The URL may hold a password, so it is in no message."""
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            protocol=2,
            max_connections=CONNECTIONS,
            timeout=DEADLINE,
            socket_connect_timeout=DEADLINE,
            # `_in_time` is the time-out: this one can swallow a cancellation on Python 3.11 (`asyncio.wait_for` does).
            socket_timeout=None,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise ConfigurationError("HELIOGRAPH_CACHE_URL is no Redis URL that can be read.") from error
    return Redis.from_pool(pool)
