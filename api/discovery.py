"""Where the instances of our services are: at a fixed address, or in a registry in Redis.

With a fixed address somebody else (DNS, a load balancer) finds the instances. In the registry each instance registers
itself and says again and again that it lives; one that falls silent is gone after a while. Whether it lives is decided
by Redis's clock alone. A registry that is empty or away heals by itself: nothing is told once only.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Protocol, TypeVar, cast

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from domain.concurrency import Tasks
from domain.errors import ConfigurationError

TTL = 15.0
"""Seconds after which an instance that says nothing is gone."""
EVERY = 5.0
"""Seconds between two signs of life."""
AGAIN = 1.0
"""Seconds after which a sign of life that failed is repeated."""
DEADLINE = 0.25
"""Seconds for one exchange with Redis, a connection included."""
FRESH, USABLE = 1.0, 5.0
"""Seconds after which the registry is read again: behind a caller's back, and before the caller goes on."""

_INDEX, _ENTRY = "heliograph:instances", "heliograph:instance:"
_FAILURES = (RedisError, OSError, TimeoutError)

T = TypeVar("T")

log = logging.getLogger(__name__)


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One running process of a role. `url` is where others reach its HTTP; times are by its own clock."""

    service: str
    id: str
    url: str
    version: str
    started_at: datetime
    last_seen: datetime


class Directory(Protocol):
    """Knows where the live instances of a service are."""

    async def locate(self, service: str) -> Sequence[str]:
        """The base URLs of a service's live instances, in an order that stays. Never raises; may know of none."""

    async def instances(self) -> Sequence[Instance]:
        """All live instances of all services that registered themselves. Never raises."""


class StaticDirectory:
    """A `Directory` with one address. Who answers there is somebody else's business."""

    def __init__(self, url: str) -> None:
        self._urls = (url,)

    async def locate(self, service: str) -> Sequence[str]:
        """The one address."""
        return self._urls

    async def instances(self) -> Sequence[Instance]:
        """None: nobody registers here."""
        return ()


class RedisDirectory:
    """A `Directory` that reads the registry once for all callers together, and at most once a second while it knows
    somebody.

    While Redis is away the last known answer is given. Reading is done behind the callers' backs, unless nobody has
    asked for so long that what is known may be of no use.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = monotonic) -> None:
        """`url` is `redis://` or `rediss://`; raises `ConfigurationError` for any other. Opens nothing."""
        self._registry = _Registry(url)
        self._clock = clock
        self._known: Sequence[Instance] = ()
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._tasks = Tasks()

    async def locate(self, service: str) -> Sequence[str]:
        """The base URLs of a service's live instances, the oldest first.

        Where none is known the registry is read before the caller is told so, however young the last answer is: it may
        be of a moment ago, when Redis was slow or the first instance had not registered yet.
        """
        return _urls(service, await self.instances()) or _urls(service, await self._afresh())

    async def instances(self) -> Sequence[Instance]:
        """All live instances of all services, the oldest first."""
        age = self._clock() - self._asked_at
        if age >= USABLE:
            return await self._afresh()
        if age >= FRESH:
            _ = self._reading()
        return self._known

    async def close(self) -> None:
        """Let go of the connections. May be called twice."""
        await self._tasks.cancel()
        await self._registry.close()

    async def _afresh(self) -> Sequence[Instance]:
        """What is known after the reading that is under way, or a new one."""
        await asyncio.wait([self._reading()])
        return self._known

    def _reading(self) -> asyncio.Task[None]:
        """The reading that is under way: one for all who wait."""
        if self._asking is None:
            self._asking = self._tasks.start("discovery: registry", self._ask())
        return self._asking

    async def _ask(self) -> None:
        try:
            found = await self._registry.attempt(self._registry.read)
            self._known = self._known if found is None else found
        finally:
            self._asked_at = self._clock()
            self._asking = None


class Registration:
    """Keeps one instance in the registry for as long as it runs, `ttl` seconds longer if it dies without a word.

    `start` and `stop` are called once each. Redis may be away: it is tried again and again.
    """

    def __init__(self, url: str, instance: Instance, *, ttl: float = TTL, every: float = EVERY) -> None:
        """`url` is `redis://` or `rediss://`; raises `ConfigurationError` for any other. Opens nothing."""
        self._registry = _Registry(url)
        self._instance, self._ttl, self._every = instance, ttl, every
        self._tasks = Tasks()

    async def start(self) -> None:
        """Begin to say that it lives. Returns at once."""
        _ = self._tasks.supervise("discovery: registration", self._beat)

    async def stop(self) -> None:
        """Say goodbye, so that nobody calls any more. Does not wait for a Redis that is away."""
        await self._tasks.cancel()
        await self._registry.attempt(partial(self._registry.remove, self._instance.id))
        await self._registry.close()

    async def _beat(self) -> None:
        while True:
            seen = msgspec.structs.replace(self._instance, last_seen=datetime.now(UTC))
            told = await self._registry.attempt(partial(self._registry.write, seen, self._ttl))
            await asyncio.sleep(min(self._every, AGAIN) if told is None else self._every)


class _Registry:
    """What is in Redis: an entry an instance that ends by itself, and a set of their ids to find them by."""

    def __init__(self, url: str) -> None:
        self._redis = _client(url)
        self._away = False

    async def attempt(self, do: Callable[[], Awaitable[T]]) -> T | None:
        """What `do` comes to, or None when Redis is away; says so once."""
        try:
            async with asyncio.timeout(DEADLINE):
                done = await do()
        except _FAILURES as error:
            if not self._away:
                log.warning("the registry of instances is away: %r", error)
            self._away = True
            return None
        self._away = False
        return done

    async def read(self) -> Sequence[Instance]:
        """Those that live."""
        ids = sorted(cast(set[bytes], await self._redis.smembers(_INDEX)))  # ids are in the order of time
        if not ids:
            return ()
        entries = dict(zip(ids, await self._redis.mget([_ENTRY.encode() + id for id in ids]), strict=True))
        if gone := [id for id, entry in entries.items() if entry is None]:
            # One that was only late comes back with its next sign of life.
            await self._redis.srem(_INDEX, *gone)
        return [found for entry in entries.values() if (found := _decoded(entry)) is not None]

    async def write(self, instance: Instance, ttl: float) -> bool:
        """This one lives, for `ttl` seconds at least."""
        async with self._redis.pipeline(transaction=True) as pipe:
            _ = pipe.set(_ENTRY + instance.id, msgspec.json.encode(instance), px=round(ttl * 1000))
            _ = pipe.sadd(_INDEX, instance.id)
            await pipe.execute()
        return True

    async def remove(self, id: str) -> None:
        """This one is gone."""
        async with self._redis.pipeline(transaction=True) as pipe:
            _ = pipe.delete(_ENTRY + id)
            _ = pipe.srem(_INDEX, id)
            await pipe.execute()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._redis.aclose()


def _urls(service: str, instances: Sequence[Instance]) -> list[str]:
    return [instance.url for instance in instances if instance.service == service]


def _decoded(entry: bytes | str | None) -> Instance | None:
    """None for what is not there, and for what another version of us wrote in a way of its own."""
    try:
        return None if entry is None else msgspec.json.decode(entry, type=Instance)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _client(url: str) -> Redis:
    """The URL may hold a password, so it is in no message."""
    try:
        return Redis.from_url(
            url,
            protocol=2,
            socket_connect_timeout=DEADLINE,
            # `attempt` is the time-out: this one can swallow a cancellation on Python 3.11 (`asyncio.wait_for` does).
            socket_timeout=None,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise ConfigurationError("HELIOGRAPH_DISCOVERY_URL is no Redis URL that can be read.") from error
