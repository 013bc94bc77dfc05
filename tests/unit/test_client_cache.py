"""What a client of another service remembers, near and far, with a clock of our own."""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
import pytest

from api.changes import cache_key
from api.client_cache import ClientCache, Memory, SharedCache
from domain.changes import Kind
from domain.errors import Conflict, UpstreamUnavailable
from domain.ports import Known
from workers.cache import MemoryCache

AWAY = UpstreamUnavailable("away")
TTL, SHARED_TTL, STALE = 2.0, 5.0, 100.0


class Owner:
    """Answers with what it has, counts its calls, and may be away or hold its answers back."""

    def __init__(self, **values: str) -> None:
        self.values = values
        self.calls: list[list[str]] = []
        self.error: Exception | None = None
        self.answering = asyncio.Event()
        self.answering.set()

    async def ask(self, names: Sequence[str]) -> Mapping[str, str]:
        self.calls.append(list(names))
        found, error = {name: self.values[name] for name in names if name in self.values}, self.error
        await self.answering.wait()
        if error is not None:
            raise error
        return found

    async def asked(self) -> None:
        """Return when a call is under way."""
        async with asyncio.timeout(10):
            while not self.calls:  # noqa: ASYNC110 - said once, by a list that a test reads
                await asyncio.sleep(0)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def far(clock: Clock) -> MemoryCache:
    """The shared cache."""
    return MemoryCache(100, clock=clock)


@pytest.fixture
def memory(clock: Clock, far: MemoryCache) -> Memory[str]:
    return process(clock, far)


def process(clock: Clock, far: MemoryCache | None) -> Memory[str]:
    """The memory of one process."""
    near: ClientCache[str] = ClientCache(size=3, ttl=TTL, stale=STALE, clock=clock)
    return Memory(near, SharedCache(far, Kind.USER, str, ttl=SHARED_TTL))


def lasting(clock: Clock, far: MemoryCache) -> Memory[str]:
    """The same, where what is in capitals never changes."""
    near: ClientCache[str] = ClientCache(size=3, ttl=TTL, stale=STALE, clock=clock)
    return Memory(near, SharedCache(far, Kind.USER, str, ttl=float("inf")), lasts=str.isupper)


async def shared(far: MemoryCache, name: str) -> str | None:
    cached = (await far.get([cache_key(Kind.USER, name)])).get(cache_key(Kind.USER, name))
    return None if cached is None else msgspec.json.decode(cached.value, type=str)


# ------------------------------------------------------------------------------------------------- from near to far


async def test_a_value_is_asked_for_again_when_it_is_no_longer_fresh(clock: Clock) -> None:
    memory, owner = process(clock, None), Owner(k="old")
    assert await memory.get("k", owner.ask) == Known("old")
    owner.values["k"] = "new"
    clock.now += 1.9
    assert await memory.get("k", owner.ask) == Known("old")
    clock.now += 0.1
    assert await memory.get("k", owner.ask) == Known("new")
    assert len(owner.calls) == 2


async def test_what_one_process_was_told_another_need_not_ask_for(clock: Clock, far: MemoryCache) -> None:
    owner = Owner(k="old")
    await process(clock, far).get("k", owner.ask)
    clock.now += SHARED_TTL - 0.1
    assert await process(clock, far).get("k", owner.ask) == Known("old")
    assert len(owner.calls) == 1
    clock.now += 0.1
    owner.values["k"] = "new"
    assert await process(clock, far).get("k", owner.ask) == Known("new")
    assert await shared(far, "k") == "new"


async def test_a_batch_asks_the_owner_only_for_what_nobody_remembers(clock: Clock, far: MemoryCache) -> None:
    owner = Owner(a="1", b="2", c="3")
    await process(clock, far).get("b", owner.ask)
    found = await process(clock, far).recall(["a", "b", "none", "c", "a"], owner.ask)
    assert found == [Known("1"), Known("2"), None, Known("3"), Known("1")]
    assert owner.calls == [["b"], ["a", "none", "c"]]


async def test_what_cannot_be_read_is_not_there(memory: Memory[str], far: MemoryCache) -> None:
    await far.put(
        {cache_key(Kind.USER, "k"): b'{"of": "another version"}', cache_key(Kind.USER, "b"): b"\xff"}, keep=60
    )
    owner = Owner(k="1", b="2")
    assert await memory.recall(["k", "b"], owner.ask) == [Known("1"), Known("2")]


async def test_only_so_many_are_remembered_in_process(clock: Clock) -> None:
    memory, owner = process(clock, None), Owner(a="1", b="2", c="3", d="4")
    for name in ("a", "b", "c", "a", "d", "a"):
        await memory.get(name, owner.ask)
    assert len(owner.calls) == 4
    assert memory.fresh("b") is None


async def test_callers_who_ask_at_the_same_time_cause_one_call(memory: Memory[str]) -> None:
    owner = Owner(k="old")
    assert await asyncio.gather(*(memory.get("k", owner.ask) for _ in range(5))) == [Known("old")] * 5
    assert len(owner.calls) == 1


@pytest.mark.parametrize("error", [AWAY, Conflict("another thing")])
async def test_all_who_wait_are_told_of_a_failure(memory: Memory[str], error: Exception) -> None:
    owner = Owner()
    owner.error = error
    outcomes = await asyncio.gather(*(memory.get("k", owner.ask) for _ in range(3)), return_exceptions=True)
    assert outcomes == [error] * 3
    assert len(owner.calls) == 1


# ---------------------------------------------------------------------------------------- while the owner is away


async def test_while_the_owner_is_away_it_is_asked_once_a_moment(clock: Clock) -> None:
    memory, owner = process(clock, None), Owner(k="old")
    await memory.get("k", owner.ask)
    owner.error = AWAY
    clock.now += 10.0
    assert [await memory.get("k", owner.ask) for _ in range(5)] == [Known("old", stale=True)] * 5
    assert len(owner.calls) == 2
    clock.now += STALE
    with pytest.raises(UpstreamUnavailable):
        await memory.get("k", owner.ask)


async def test_a_process_that_knows_nothing_is_helped_out_by_the_shared_cache(clock: Clock, far: MemoryCache) -> None:
    owner = Owner(k="old")
    await process(clock, far).get("k", owner.ask)
    owner.error = AWAY
    clock.now += 23 * 3600
    late = process(clock, far)
    assert [await late.get("k", owner.ask) for _ in range(5)] == [Known("old", stale=True)] * 5
    assert len(owner.calls) == 2
    clock.now += 2 * 3600
    with pytest.raises(UpstreamUnavailable):
        await process(clock, far).get("k", owner.ask)


async def test_each_of_a_batch_is_helped_out_by_itself(memory: Memory[str], clock: Clock) -> None:
    owner = Owner(a="1", b="2")
    await memory.recall(["a", "b"], owner.ask)
    owner.error = AWAY
    clock.now += SHARED_TTL
    stale = [Known("1", stale=True), AWAY, Known("2", stale=True)]
    assert await memory.recall(["a", "never seen", "b"], owner.ask) == stale


async def test_what_the_owner_says_is_no_longer_stale(memory: Memory[str], clock: Clock) -> None:
    owner = Owner(k="old")
    await memory.get("k", owner.ask)
    owner.error = AWAY
    clock.now += SHARED_TTL
    assert await memory.get("k", owner.ask) == Known("old", stale=True)
    owner.error = None
    clock.now += TTL
    assert await memory.get("k", owner.ask) == Known("old")


async def test_what_is_gone_never_stands_in(memory: Memory[str], clock: Clock, far: MemoryCache) -> None:
    owner = Owner(k="old")
    await memory.get("k", owner.ask)
    clock.now += SHARED_TTL
    del owner.values["k"]
    assert await memory.get("k", owner.ask) is None
    owner.error = AWAY
    for each in (memory, process(clock, far)):
        with pytest.raises(UpstreamUnavailable):
            await each.get("k", owner.ask)


async def test_an_answer_from_before_does_not_bring_back_what_is_gone(memory: Memory[str], clock: Clock) -> None:
    owner = Owner(k="old")
    owner.answering.clear()
    slow = asyncio.create_task(memory.recall(["k"], owner.ask))
    await owner.asked()
    assert await memory.recall(["k"], Owner().ask) == [None]
    owner.answering.set()
    assert await slow == [Known("old")]
    assert await memory.get("k", Owner().ask) is None


# ------------------------------------------------------------------------------------------------------- changes


async def test_what_has_changed_is_forgotten_at_once(memory: Memory[str], far: MemoryCache) -> None:
    owner = Owner(k="old", other="kept")
    await memory.recall(["k", "other"], owner.ask)
    await far.drop([cache_key(Kind.USER, "k")])  # as its owner does
    memory.drop("k")
    owner.error = AWAY
    assert await memory.get("other", owner.ask) == Known("kept")
    with pytest.raises(UpstreamUnavailable):
        await memory.get("k", owner.ask)


@pytest.mark.parametrize("change", ["drop", "doubt"])
async def test_an_answer_that_was_asked_for_before_a_change_is_not_kept(
    memory: Memory[str], far: MemoryCache, change: str
) -> None:
    owner = Owner(k="old")
    owner.answering.clear()
    asking = asyncio.create_task(memory.get("k", owner.ask))
    await owner.asked()
    owner.values["k"] = "new"
    memory.drop("k") if change == "drop" else memory.doubt()
    later = asyncio.create_task(memory.get("k", owner.ask))
    owner.answering.set()
    assert await asking == Known("old")
    assert await later == Known("new")
    assert (memory.fresh("k"), await shared(far, "k")) == (Known("new"), "new")


async def test_a_change_of_one_does_not_keep_the_others_from_being_remembered(memory: Memory[str]) -> None:
    owner = Owner(k="old")
    owner.answering.clear()
    asking = asyncio.create_task(memory.get("k", owner.ask))
    await owner.asked()
    memory.drop("another")
    owner.answering.set()
    await asking
    assert memory.fresh("k") == Known("old")


async def test_with_more_changes_than_can_be_told_apart_nothing_is_kept(memory: Memory[str]) -> None:
    owner = Owner(k="old")
    owner.answering.clear()
    asking = asyncio.create_task(memory.get("k", owner.ask))
    await owner.asked()
    for name in ("k", "a", "b", "c"):
        memory.drop(name)
    owner.answering.set()
    await asking
    assert memory.fresh("k") is None


async def test_when_anything_may_have_changed_all_is_asked_for_again(clock: Clock) -> None:
    memory, owner = process(clock, None), Owner(k="old")
    await memory.get("k", owner.ask)
    memory.doubt()
    owner.values["k"] = "new"
    assert await memory.get("k", owner.ask) == Known("new")
    memory.doubt()
    owner.error = AWAY
    assert await memory.get("k", owner.ask) == Known("new", stale=True)


# ------------------------------------------------------------------------------------------------ what never changes


async def test_what_never_changes_is_asked_for_once(clock: Clock, far: MemoryCache) -> None:
    owner = Owner(k="FINAL")
    memory = lasting(clock, far)
    await memory.get("k", owner.ask)
    clock.now += 1e9
    memory.doubt()
    assert await memory.get("k", owner.ask) == Known("FINAL")
    assert len(owner.calls) == 1


async def test_what_never_changes_is_never_stale_and_only_that_is_shared(clock: Clock, far: MemoryCache) -> None:
    owner = Owner(k="FINAL", draft="draft")
    await lasting(clock, far).recall(["k", "draft"], owner.ask)
    owner.error = AWAY
    clock.now += 23 * 3600
    assert await lasting(clock, far).recall(["k", "draft"], owner.ask) == [Known("FINAL"), AWAY]
