"""What the clients of the User and Template Services remember, over a real Redis that all processes share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic

import httpx
import pytest
from redis.asyncio import Redis

from api.changes import Changes
from api.database import Databases
from api.discovery import StaticDirectory
from api.templates.app import templates_app
from api.templates.client import TemplatesClient
from api.templates.repository import TemplateRepository
from api.users.app import users_app
from api.users.client import UsersClient
from api.users.repository import UserRepository
from domain.changes import Changed, Kind
from domain.channels import CHANGES_CHANNEL
from domain.errors import NotFound, UpstreamUnavailable
from domain.ports import Cache, Cached, Known
from domain.recipient import Recipient
from domain.template import TemplateLocale
from tests.services.rest_clients import Wire, served
from workers import cache as shared_cache
from workers.bell import BroadcastBell
from workers.cache import MemoryCache, RedisCache

DEADLINE = 10.0
LONG = 3_600.0
TOKEN = "service-token"
EN = TemplateLocale(locale="en", subject="Hi", text="Hello", title="Hi")
PT = TemplateLocale(locale="pt", subject="Oi", text="Olá", title="Oi")


class Process:
    """A process that asks both services. Without a change it would not ask again for an hour."""

    def __init__(self, system: "System", http: tuple[httpx.AsyncClient, httpx.AsyncClient], ttl: float) -> None:
        cache, self.changes = system.cache(), system.changes()
        self.users = UsersClient(http[0], service_token=TOKEN, cache=cache, ttl=ttl, shared_ttl=ttl)
        self.templates = TemplatesClient(http[1], service_token=TOKEN, cache=cache, ttl=ttl, shared_ttl=ttl)
        self.changes.heed(self.users.heed)
        self.changes.heed(self.templates.heed)
        self.heard: list[Changed | None] = []
        self.changes.heed(self.heard.append)

    async def user(self, user_id: str) -> Known[Recipient]:
        return (await self.users.lookup([user_id]))[user_id]


class System:
    """Both services, and the ways to them."""

    def __init__(self, databases: Databases, redis_url: str, stack: AsyncExitStack) -> None:
        self._redis_url, self._stack = redis_url, stack
        self._bells: list[BroadcastBell] = []
        self._processes: list[Process] = []
        self._told = self.changes()
        users = UserRepository(databases["users"], self._told.tell)
        self.users = Wire(users_app(users, service_token=TOKEN))
        templates = TemplateRepository(databases["templates"], self._told.tell)
        self.templates = Wire(templates_app(templates, service_token=TOKEN))

    @property
    def away(self) -> bool:
        """Whether both services are away."""
        return self.users.away and self.templates.away

    @away.setter
    def away(self, away: bool) -> None:
        self.users.away = self.templates.away = away

    def cache(self) -> RedisCache:
        cache = RedisCache(self._redis_url)
        self._stack.push_async_callback(cache.close)
        return cache

    def changes(self) -> Changes:
        bell = BroadcastBell(self._redis_url, [CHANGES_CHANNEL])
        self._bells.append(bell)
        return Changes(bell, self.cache())

    async def process(self, *, ttl: float = LONG) -> Process:
        """A process that has just started and hears of changes."""
        ways = [await self._stack.enter_async_context(wire.client()) for wire in (self.users, self.templates)]
        process = Process(self, (ways[0], ways[1]), ttl)
        self._processes.append(process)
        await process.changes.start()
        self._stack.push_async_callback(process.changes.stop)
        await self.connect()
        return process

    async def settle(self) -> None:
        """Wait until all processes have heard of everything."""
        last = Changed(Kind.API_KEY, (f"mark {monotonic()}",))
        await self._told.tell(last.kind, last.names)
        async with asyncio.timeout(DEADLINE):
            while not all(last in process.heard for process in self._processes):  # noqa: ASYNC110 - a list says nothing
                await asyncio.sleep(0.01)

    async def let_tombstones_pass(self) -> None:
        """Have the shared cache forget everything, what was dropped a moment ago included."""
        async with Redis.from_url(self._redis_url) as redis:
            await redis.flushdb()

    async def connect(self) -> None:
        """Connect whoever is not yet."""
        while self._bells:
            bell = self._bells.pop()
            await bell.connect()
            self._stack.push_async_callback(bell.close)
            async with asyncio.timeout(DEADLINE):
                while not bell.available:  # noqa: ASYNC110 - a bell says no more than this
                    await asyncio.sleep(0.01)


@pytest.fixture
async def system(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[System]:
    monkeypatch.setattr(shared_cache, "DEADLINE", 10.0)  # a busy machine is not a Redis that is away
    names = ("users", "templates")
    databases = await Databases.open({name: f"sqlite://{tmp_path}/{name}.db" for name in names})
    await databases.migrate()
    async with AsyncExitStack() as stack:
        system = System(databases, redis_url, stack)
        await system.connect()
        yield system
    await databases.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for `condition`."""
    async with asyncio.timeout(DEADLINE):
        while not await condition():  # noqa: ASYNC110 - what is watched is not ours to signal
            await asyncio.sleep(0.01)


# ---------------------------------------------------------------------------------------- while the owner is away


async def test_what_is_remembered_in_process_stands_in(system: System) -> None:
    process = await system.process(ttl=0.0)
    ann = await process.users.create(name="Ann")
    await process.templates.create("welcome", locales=[EN], publish=True)
    await system.settle()
    fresh = await process.user(ann.id), await process.templates.published("welcome")
    assert [known.stale for known in fresh] == [False, False]
    system.away = True
    stale = await process.user(ann.id), await process.templates.published("welcome")
    assert stale == tuple(Known(known.value, stale=True) for known in fresh)
    system.away = False
    assert (await process.user(ann.id), await process.templates.published("welcome")) == fresh


async def test_a_process_started_while_the_owners_are_away_is_helped_out_by_the_others(system: System) -> None:
    early = await system.process(ttl=0.0)
    ann = (await early.users.create(name="Ann")).id
    device = await early.users.register_device(ann, platform="WEB", token="token-0001")
    await early.templates.create("welcome", locales=[EN, PT], publish=True)
    await system.settle()
    await system.let_tombstones_pass()
    known = await early.user(ann), await early.templates.published("welcome")
    system.away = True
    late = await system.process(ttl=0.0)
    recipient, template = await late.user(ann), await late.templates.published("welcome")
    assert (recipient.stale, template.stale) == (True, True)
    assert (recipient.value, template.value) == (known[0].value, known[1].value)
    assert [each.id for each in recipient.value.devices] == [device.id]
    assert (await late.templates.version("welcome", 1)).locales == (EN, PT)
    with pytest.raises(UpstreamUnavailable):
        await late.users.lookup([ann, "usr_never_seen"])
    for unknown in (late.templates.published("other"), late.templates.version("welcome", 2)):
        with pytest.raises(UpstreamUnavailable):
            await unknown


async def test_a_server_that_stops_and_returns(system: System) -> None:
    cache = MemoryCache(100)
    async with httpx.AsyncClient() as http:

        def client(url: str) -> UsersClient:
            return UsersClient(
                http, directory=StaticDirectory(url), cache=cache, service_token=TOKEN, ttl=0.0, shared_ttl=0.0
            )

        async with served(system.users.app) as url:
            ann = (await client(url).create(name="Ann")).id
            assert not (await client(url).lookup([ann]))[ann].stale
        found = (await client(url).lookup([ann]))[ann]
        assert (found.value.name, found.stale) == ("Ann", True)
        async with served(system.users.app) as url:
            assert not (await client(url).lookup([ann]))[ann].stale


async def test_who_does_not_exist_any_more_never_stands_in(system: System) -> None:
    process, other = await system.process(ttl=0.0), await system.process(ttl=0.0)
    ann = (await process.users.create(name="Ann")).id
    await process.templates.create("welcome", locales=[EN], publish=True)
    await system.settle()
    await system.let_tombstones_pass()
    for each in (process, other):
        await each.user(ann)
        await each.templates.published("welcome")
    await process.users.delete(ann)
    await process.templates.delete("welcome")
    assert await other.users.lookup([ann]) == {}
    with pytest.raises(NotFound):
        await other.templates.published("welcome")
    system.away = True
    for each in (process, other, await system.process(ttl=0.0)):
        with pytest.raises(UpstreamUnavailable):
            await each.users.lookup([ann])
        with pytest.raises(UpstreamUnavailable):
            await each.templates.published("welcome")


# --------------------------------------------------------------------------------------------------------- changes


async def test_a_user_changed_anywhere_is_asked_for_again_everywhere(system: System) -> None:
    one, other = await system.process(), await system.process()
    ann = (await one.users.create(name="Ann")).id
    assert (await other.user(ann)).value.name == "Ann"
    await one.users.update(ann, {"name": "Anna"})
    assert (await one.user(ann)).value.name == "Anna"

    async def seen() -> bool:
        return (await other.user(ann)).value.name == "Anna"

    await until(seen)
    await one.users.delete(ann)

    async def gone() -> bool:
        return not await other.users.lookup([ann])

    await until(gone)


async def test_a_template_published_anywhere_is_asked_for_again_everywhere(system: System) -> None:
    one, other = await system.process(), await system.process()
    await one.templates.create("welcome", locales=[EN], publish=True)
    await one.templates.create_version("welcome", [EN, PT])
    assert (await other.templates.published("welcome")).value.published_version == 1
    assert not (await other.templates.version("welcome", 2)).published
    await one.templates.publish("welcome", 2)

    async def version_seen() -> bool:
        return (await other.templates.version("welcome", 2)).published

    async def template_seen() -> bool:
        return (await other.templates.published("welcome")).value.published_version == 2

    await until(version_seen)
    await until(template_seen)


async def test_what_changed_while_nobody_heard_is_asked_for_when_we_hear_again(system: System) -> None:
    process = await system.process()
    await process.templates.create("welcome", locales=[EN], publish=True)
    await system.settle()
    await process.templates.published("welcome")
    system.templates.calls.clear()
    process.templates.heed(None)
    await process.templates.published("welcome")
    assert system.templates.calls == [("GET", "/v1/templates/welcome")]


@pytest.mark.parametrize("kind", [Kind.USER, Kind.ERASURE])
async def test_an_answer_under_way_when_the_change_came_is_not_kept(system: System, kind: Kind) -> None:
    process = await system.process()
    ann = (await process.users.create(name="Ann")).id
    await system.settle()
    system.users.calls.clear()
    async with system.users.held() as asked:
        looking = asyncio.create_task(process.user(ann))
        await asked.wait()
        process.users.heed(Changed(kind, (ann,)))
    assert (await looking).value.name == "Ann"
    await process.user(ann)
    assert system.users.calls == [("POST", "/v1/users/lookup")] * 2


async def test_changes_of_others_leave_what_is_remembered(system: System) -> None:
    process = await system.process()
    ann = (await process.users.create(name="Ann")).id
    await process.templates.create("welcome", locales=[EN], publish=True)
    await system.settle()
    known = await process.user(ann), await process.templates.published("welcome")
    for changed in (Changed(Kind.API_KEY, (ann, "welcome")), Changed(Kind.USER, ("welcome", "usr_other"))):
        process.users.heed(changed)
        process.templates.heed(changed)
    system.away = True
    assert (await process.user(ann), await process.templates.published("welcome")) == known


# --------------------------------------------------------------------------------------------------------- batches


class Counting(Cache):
    """A cache that counts its calls."""

    def __init__(self) -> None:
        self._cache = MemoryCache(2_000)
        self.calls: list[str] = []

    async def get(self, keys: Sequence[str]) -> Mapping[str, Cached]:
        self.calls.append("get")
        return await self._cache.get(keys)

    async def put(self, items: Mapping[str, bytes], keep: float) -> None:
        self.calls.append("put")
        await self._cache.put(items, keep)

    async def drop(self, keys: Sequence[str]) -> None:
        self.calls.append("drop")
        await self._cache.drop(keys)

    async def close(self) -> None:
        await self._cache.close()


@pytest.mark.parametrize("together", [True, False])
async def test_a_batch_is_one_call_to_the_cache_and_one_to_the_owner(system: System, together: bool) -> None:
    cache = Counting()
    async with system.users.client() as http:
        users = UsersClient(http, service_token=TOKEN, cache=cache)
        made = [(await users.create(name=f"{number}")).id for number in range(30)]
        system.users.calls.clear()
        if together:
            found = dict(await users.lookup([*made, "usr_none"]))
        else:
            found = {}
            for one in await asyncio.gather(*(users.lookup([id]) for id in made)):
                found.update(one)
        assert {id: known.value.name for id, known in found.items()} == {id: str(n) for n, id in enumerate(made)}
        assert (cache.calls, system.users.calls) == (["get", "put"], [("POST", "/v1/users/lookup")])


async def test_with_a_redis_that_is_away_all_goes_on(system: System) -> None:
    cache = RedisCache("redis://127.0.0.1:1/0")
    async with system.users.client() as http:
        users = UsersClient(http, service_token=TOKEN, cache=cache)
        ann = (await users.create(name="Ann")).id
        assert (await users.lookup([ann]))[ann].value.name == "Ann"
    await cache.close()
