"""How a service is called that has several instances, or none that answers: real servers on loopback."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import httpx
import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.discovery import Directory, Instance, RedisDirectory, Registration
from api.http import respond
from api.rest import RestClient
from domain.errors import Conflict, HeliographError, NotFound, RateLimited, UpstreamUnavailable, ValidationFailed
from domain.ids import INSTANCE, new_id
from domain.telemetry import correlation_id, traceparent
from tests.servers.ports import free_ports
from tests.services.rest_clients import served
from workers.resilience import Breaker, only_errors

DEADLINE = 10.0
NOON = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Thing(msgspec.Struct):
    """What the owner answers: which instance it was."""

    name: str


class Owner:
    """One instance. `fate` is what becomes of calls: a status, or None for no answer at all."""

    def __init__(self, name: str, fate: int | None = 200) -> None:
        self.name, self.fate = name, fate
        self.requests: list[Request] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests.append(Request(scope))
        if self.fate is None:
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await self._answer()(scope, receive, send)

    def _answer(self) -> Response:
        if self.fate == 200:
            return respond(Thing(self.name))
        fields = [{"path": ["name"], "code": "taken", "message": "is taken"}]
        error = {"code": "VALIDATION_FAILED" if self.fate == 422 else "ANY", "message": "no", "fields": fields}
        body = {"success": False, "data": None, "error": error, "message": "no", "meta": None}
        return Response(msgspec.json.encode(body), self.fate or 500)


class Listed:
    """A `Directory` that lists these."""

    def __init__(self, *urls: str) -> None:
        self.urls = urls

    async def locate(self, service: str) -> Sequence[str]:
        return self.urls if service == "things" else ()

    async def instances(self) -> Sequence[Instance]:
        return ()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def breaker(clock: Callable[[], float]) -> Breaker:
    return Breaker("things", fail_max=3, reset_after=2.0, counts=only_errors, clock=clock)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as http:
        yield http


def client(
    http: httpx.AsyncClient, directory: Directory, *, breaker: Breaker | None = None, deadline: float = 1.0
) -> RestClient:
    return RestClient(
        http, "things", "Thing Service", directory=directory, breaker=breaker, token="shared-secret", deadline=deadline
    )


async def get(rest: RestClient) -> str:
    return (await rest.call("GET", "/v1/things", Thing, about=("thing", "x"))).name


async def post(rest: RestClient, *, repeatable: bool = False) -> str:
    return (await rest.call("POST", "/v1/things", Thing, json={"a": 1}, repeatable=repeatable)).name


@asynccontextmanager
async def instances(*owners: Owner) -> AsyncIterator[list[str]]:
    """The base URLs of these while they are served."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(served(owner)) for owner in owners]


async def test_instances_take_turns(http: httpx.AsyncClient) -> None:
    one, two, three = owners = Owner("one"), Owner("two"), Owner("three")
    async with instances(*owners) as urls:
        rest = client(http, Listed(*urls))
        assert sorted([await get(rest) for _ in range(6)]) == ["one", "one", "three", "three", "two", "two"]
    assert [len(owner.requests) for owner in (one, two, three)] == [2, 2, 2]


@pytest.mark.parametrize("fate", [500, 503, None])
async def test_an_instance_that_fails_is_noticed_once_and_avoided(http: httpx.AsyncClient, fate: int | None) -> None:
    bad, good = Owner("bad", fate), Owner("good")
    async with instances(bad, good) as urls:
        rest = client(http, Listed(*urls))
        assert [await get(rest) for _ in range(6)] == ["good"] * 6
    assert len(bad.requests) == 1


async def test_a_dead_instance_harms_no_call(http: httpx.AsyncClient) -> None:
    [port] = free_ports(1)
    async with instances(Owner("good")) as urls:
        rest = client(http, Listed(f"http://127.0.0.1:{port}", *urls))
        assert [await get(rest) for _ in range(4)] == ["good"] * 4
        fresh = client(http, Listed(f"http://127.0.0.1:{port}", *urls))
        assert [await post(fresh) for _ in range(4)] == ["good"] * 4  # it certainly did not arrive


@pytest.mark.parametrize("fate", [500, None])
async def test_what_may_have_been_done_is_not_done_again(http: httpx.AsyncClient, fate: int | None) -> None:
    bad, good = Owner("bad", fate), Owner("good")
    async with instances(bad, good) as urls:
        rest = client(http, Listed(*urls), deadline=0.5)
        outcomes = await asyncio.gather(*(post(rest) for _ in range(2)), return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["UpstreamUnavailable", "str"]
        assert [await post(rest) for _ in range(3)] == ["good"] * 3
    assert (len(bad.requests), len(good.requests)) == (1, 4)


async def test_what_may_be_repeated_is(http: httpx.AsyncClient) -> None:
    async with instances(Owner("bad", 500), Owner("good")) as urls:
        rest = client(http, Listed(*urls))
        assert [await post(rest, repeatable=True) for _ in range(4)] == ["good"] * 4


async def test_an_instance_that_failed_is_still_better_than_none(http: httpx.AsyncClient) -> None:
    owner = Owner("one", 503)
    async with instances(owner) as urls:
        rest = client(http, Listed(*urls))
        with pytest.raises(UpstreamUnavailable, match="503"):
            await get(rest)
        owner.fate = 200
        assert await get(rest) == "one"


async def test_all_tries_together_have_one_deadline(http: httpx.AsyncClient) -> None:
    owners = [Owner(name, None) for name in ("one", "two", "three", "four")]
    async with instances(*owners) as urls:
        rest = client(http, Listed(*urls), deadline=0.4)
        async with asyncio.timeout(DEADLINE / 2):
            with pytest.raises(UpstreamUnavailable, match="does not answer"):
                await get(rest)
    assert sum(len(owner.requests) for owner in owners) == 3


@pytest.mark.parametrize("urls", [(), ("nonsense",), ("http://[",)])
async def test_nobody_to_call_is_an_outage(http: httpx.AsyncClient, urls: tuple[str, ...]) -> None:
    with pytest.raises(UpstreamUnavailable):
        await get(client(http, Listed(*urls)))


async def test_the_owner_learns_who_calls_and_why(http: httpx.AsyncClient) -> None:
    owner = Owner("one")
    tokens = correlation_id.set("cor-17"), traceparent.set(TRACE)
    async with instances(owner) as urls:
        await get(client(http, Listed(*urls)))
    correlation_id.reset(tokens[0])
    traceparent.reset(tokens[1])
    sent = owner.requests[0].headers
    assert (sent["authorization"], sent["x-correlation-id"]) == ("Bearer shared-secret", "cor-17")
    assert sent["traceparent"] == TRACE


# ----------------------------------------------------------------------------------------------------- the breaker


async def test_an_owner_that_is_away_is_left_alone_until_a_probe_finds_it_back(http: httpx.AsyncClient) -> None:
    owner, clock = Owner("one", 503), Clock()
    async with instances(owner) as urls:
        rest = client(http, Listed(*urls), breaker=breaker(clock))
        for _ in range(10):
            with pytest.raises(UpstreamUnavailable):
                await get(rest)
        assert len(owner.requests) == 6  # three calls that were each tried twice
        clock.now += 2.0
        with pytest.raises(UpstreamUnavailable, match="503"):
            await get(rest)
        with pytest.raises(UpstreamUnavailable, match="left alone"):
            await get(rest)
        owner.fate = 200
        clock.now += 2.0
        assert [await get(rest) for _ in range(3)] == ["one"] * 3
    assert len(owner.requests) == 11


async def test_one_probe_goes_at_a_time(http: httpx.AsyncClient) -> None:
    owner, clock = Owner("one", 503), Clock()
    async with instances(owner) as urls:
        rest = client(http, Listed(*urls), breaker=breaker(clock))
        for _ in range(3):
            with pytest.raises(UpstreamUnavailable):
                await get(rest)
        owner.fate, owner.requests = 200, []
        clock.now += 2.0
        outcomes = await asyncio.gather(*(get(rest) for _ in range(5)), return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["str", *["UpstreamUnavailable"] * 4]
    assert len(owner.requests) == 1


@pytest.mark.parametrize(
    ("fate", "error"),
    [
        (404, NotFound),
        (409, Conflict),
        (422, ValidationFailed),
        (429, RateLimited),
        (401, UpstreamUnavailable),
        (403, UpstreamUnavailable),
    ],
)
async def test_an_owner_that_refuses_is_there(http: httpx.AsyncClient, fate: int, error: type[HeliographError]) -> None:
    owner, clock = Owner("one", fate), Clock()
    async with instances(owner) as urls:
        rest = client(http, Listed(*urls), breaker=breaker(clock))
        for _ in range(10):
            with pytest.raises(error):
                await get(rest)
    assert len(owner.requests) == 10


async def test_a_call_that_another_instance_answered_is_no_outage(http: httpx.AsyncClient) -> None:
    bad, good = Owner("bad", 500), Owner("good")
    clock = Clock()
    async with instances(bad, good) as urls:
        circuit = breaker(clock)
        for _ in range(5):  # each time anew, so that the bad one is tried again
            assert await get(client(http, Listed(*urls), breaker=circuit)) == "good"
    assert circuit.allows()


async def test_conflicting_fields_are_named(http: httpx.AsyncClient) -> None:
    async with instances(Owner("one", 409)) as urls:
        with pytest.raises(Conflict) as caught:
            await get(client(http, Listed(*urls)))
    assert [problem.path for problem in caught.value.fields] == [("name",)]


# -------------------------------------------------------------------------------------------- with the registry


async def test_instances_are_found_by_their_registrations_and_one_that_leaves_is_not_called(
    http: httpx.AsyncClient, redis_url: str
) -> None:
    directory = RedisDirectory(redis_url)
    one, two = Owner("one"), Owner("two")
    async with instances(one, two) as urls:
        registrations = [
            Registration(
                redis_url,
                Instance(service="things", id=new_id(INSTANCE), url=url, version="1", started_at=NOON, last_seen=NOON),
            )
            for url in urls
        ]
        for registration in registrations:
            await registration.start()
        rest = client(http, directory)
        await answered_by(rest, {"one", "two"})
        await registrations[0].stop()
        await answered_by(rest, {"two"})
        await registrations[1].stop()
    await directory.close()


async def answered_by(rest: RestClient, names: set[str]) -> None:
    """Wait until these and no others answer."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                if {await get(rest) for _ in range(4)} == names:
                    return
            except UpstreamUnavailable:  # the first reading came before the first registration
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.01)
