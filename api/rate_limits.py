"""How many operations one principal may do in a window of time, counted by all gateways together.

Fixed windows, as in `limits`: a window begins with a principal's first operation, and each operation adds one to one
counter, the cheapest thing that can be counted (one short script on one key in Redis; a moving window keeps a list, a
sliding one two counters). The price is that around the end of a window a caller may do twice as much for a moment.
That does no harm: the limit protects the service, it is not a quota that is sold.

Redis makes nobody wait for long: when it is away or hangs, each gateway counts for itself for a while.
"""

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from math import ceil
from typing import Protocol

import limits
from limits.aio.storage import RedisStorage
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from api.security import Principal
from domain.concurrency import Batcher
from domain.errors import ConfigurationError, RateLimited

log = logging.getLogger(__name__)

DEADLINE = 0.25
"""Seconds that Redis gets for an answer."""
MAX_AWAY = 60.0
"""Seconds for which Redis is left alone after it did not answer; less where the window is shorter."""
MAX_COUNTED = 100_000
"""Principals that one process counts at a time; beyond that the oldest window is forgotten."""
_CONNECTIONS = 8
_BATCH = 500
_MISTAKE = "HELIOGRAPH_RATE_LIMIT: takes a number and a time such as 60000/minute, or nothing, not {!r}."
_AWAY = (RedisError, OSError, TimeoutError)


class Counts(Protocol):
    """Counts what happens under a key, from 1 anew when the key's window has ended."""

    async def add(self, key: str) -> int:
        """One more; how many that makes. Never raises."""

    async def left(self, key: str) -> float:
        """Seconds until the window ends, as far as that can be told. Never raises."""

    async def close(self) -> None:
        """Let go of connections. May be called twice."""


class RateLimiter:
    """Says when a principal does too much. With an empty `rate` it never does, and costs nothing.

    `rate` is `<n>/<second|minute|hour>`; `url` is where all gateways count, `memory://` or `redis://…`. Raises
    `ConfigurationError`. Opens nothing before the first check.
    """

    def __init__(self, rate: str, url: str = "memory://") -> None:
        self._rate = parse_rate(rate)
        self._counts = None if self._rate is None else _counts_at(url, self._rate)
        self._over: OrderedDict[str, float] = OrderedDict()

    async def check(self, principal: Principal) -> None:
        """Count one operation. Raises `RateLimited`, and nothing else: who cannot be counted may pass."""
        if self._rate is None or self._counts is None:
            return
        key = principal.key_id
        if (until := self._over.get(key)) is not None:
            if (left := until - time.monotonic()) > 0:  # nobody need be asked how much too much it is
                raise _refusal(self._rate, left)
            del self._over[key]
        if await self._counts.add(key) > self._rate.amount:
            left = await self._counts.left(key)
            self._note_over(key, left)
            raise _refusal(self._rate, left)

    async def close(self) -> None:
        """Let go of connections. May be called twice."""
        if self._counts is not None:
            await self._counts.close()

    def _note_over(self, key: str, left: float) -> None:
        self._over[key] = time.monotonic() + left
        if len(self._over) > MAX_COUNTED:
            self._over.popitem(last=False)


class MemoryCounts:
    """Counts in this process. Unlike the one in `limits`, it does not look through all keys at every turn.

    All windows are of one length, so the one that began first ends first.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._windows: OrderedDict[str, list[float]] = OrderedDict()  # when it ends, and how many there were

    async def add(self, key: str) -> int:
        """One more; how many that makes."""
        now = time.monotonic()
        while self._windows and (len(self._windows) > MAX_COUNTED or next(iter(self._windows.values()))[0] <= now):
            self._windows.popitem(last=False)
        window = self._windows.setdefault(key, [now + self._seconds, 0])
        window[1] += 1
        return int(window[1])

    async def left(self, key: str) -> float:
        """Seconds until the window ends."""
        window = self._windows.get(key)
        return max(0.0, window[0] - time.monotonic()) if window else 0.0

    async def close(self) -> None:
        """Nothing to let go of."""


class RedisCounts:
    """Counts in Redis, and in this process for a while after Redis did not answer in time.

    Operations that arrive together are counted together: one command for each principal among them.
    """

    def __init__(self, url: str, rate: limits.RateLimitItem) -> None:
        """Raises ValueError for a URL that cannot be read."""
        self._rate, seconds = rate, rate.get_expiry()
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=DEADLINE,
            protocol=2,
            socket_timeout=DEADLINE,
            socket_connect_timeout=DEADLINE,
            retry=Retry(NoBackoff(), 1),  # a connection that died while idle costs one retry, not the window
        )
        self._redis = RedisStorage(
            f"async+{url}",
            implementation="redispy",
            key_prefix="heliograph",
            connection_pool=self._pool,  # type: ignore[arg-type]  # it is passed on to redis-py
        )
        self._memory, self._patience = MemoryCounts(seconds), min(float(seconds), MAX_AWAY)
        self._away_until = float("-inf")
        self._adding: Batcher[str, int] = Batcher(self._add_all, limit=_BATCH, name="rate limits")

    async def add(self, key: str) -> int:
        """One more; how many that makes. Waits `DEADLINE` seconds for Redis at most, not at all while it is away."""
        return await (self._memory.add(key) if self._away else self._adding.submit(key))

    async def left(self, key: str) -> float:
        """Seconds until the window ends."""
        if not self._away:
            try:
                async with asyncio.timeout(DEADLINE):
                    return max(0.0, await self._redis.get_expiry(self._rate.key_for(key)) - time.time())
            except _AWAY as error:
                self._leave_alone(error)
        return await self._memory.left(key)

    async def close(self) -> None:
        """Let go of connections. May be called twice."""
        await self._adding.drain(DEADLINE * 4)
        await self._pool.disconnect()

    @property
    def _away(self) -> bool:
        return time.monotonic() < self._away_until

    async def _add_all(self, keys: Sequence[str]) -> list[int]:
        if not self._away:
            try:
                async with asyncio.timeout(DEADLINE):
                    return await self._add_in_redis(keys)
            except _AWAY as error:
                self._leave_alone(error)
        return [await self._memory.add(key) for key in keys]

    async def _add_in_redis(self, keys: Sequence[str]) -> list[int]:
        """Each of those who come together under one key gets a number of their own, in order."""
        seconds, together = self._rate.get_expiry(), Counter(keys)
        totals = await asyncio.gather(
            *(self._redis.incr(self._rate.key_for(key), seconds, count) for key, count in together.items())
        )
        before = {key: total - together[key] for key, total in zip(together, totals, strict=True)}
        numbers = []
        for key in keys:
            before[key] += 1
            numbers.append(before[key])
        return numbers

    def _leave_alone(self, error: BaseException) -> None:
        self._away_until = time.monotonic() + self._patience
        log.warning("Redis does not count; each gateway counts for itself for %g s: %r", self._patience, error)


def parse_rate(text: str) -> limits.RateLimitItem | None:
    """The rate that a setting names, None for an empty one. Raises `ConfigurationError`."""
    if not text.strip():
        return None
    try:
        (rate,) = limits.parse_many(text)
    except ValueError as error:
        raise ConfigurationError(_MISTAKE.format(text)) from error
    if rate.amount < 1:
        raise ConfigurationError(_MISTAKE.format(text))
    return rate


def _counts_at(url: str, rate: limits.RateLimitItem) -> Counts:
    if url == "memory://":
        return MemoryCounts(rate.get_expiry())
    try:
        return RedisCounts(url, rate)
    except ValueError as error:
        raise ConfigurationError(
            f"The URL of the Redis that counts for rate limits cannot be read: {error}."
        ) from error


def _refusal(rate: limits.RateLimitItem, left: float) -> RateLimited:
    seconds = max(1, ceil(left))
    per = rate.GRANULARITY.name if rate.multiples == 1 else f"{rate.multiples} {rate.GRANULARITY.name}s"
    return RateLimited(f"More than {rate.amount:,} operations a {per}: come back in {seconds} s.", seconds)
