"""When a subscription of the command line goes on, from where, and when it gives up."""

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import pytest

from api.cli import resuming
from api.cli.resuming import Ended, Resumed
from api.subscriber import Lost, Refused

FEED = "subscription ($after: String) { status_feed(after: $after) { cursor } }"
PROGRESS = "subscription ($id: String!) { request_progress(request_id: $id) { percent } }"


NOTHING = object()
"""It lets one in, and has nothing to say."""


class Gateway:
    """Plays its lives one after the other: events, then an error, or the end. It remembers what it was asked."""

    def __init__(self, *lives: list[Any]) -> None:
        self._lives = list(lives)
        self.asked: list[Mapping[str, Any]] = []

    async def results(
        self, url: str, key: str, query: str, variables: Mapping[str, Any], connected: Callable[[], None]
    ) -> AsyncGenerator[Any, None]:
        """As `subscriber.results`."""
        self.asked.append(variables)
        for event in self._lives.pop(0):
            if isinstance(event, Exception):
                raise event
            connected()
            if event is not NOTHING:
                yield event


class Clock:
    """Stands still but for what is slept."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time, for the module under test."""
    clock = Clock()
    monkeypatch.setattr(resuming, "sleep", clock.sleep)
    monkeypatch.setattr(resuming, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Callable[..., Gateway]:
    """Have a gateway with these lives."""

    def begin(*lives: list[Any]) -> Gateway:
        gateway = Gateway(*lives)
        monkeypatch.setattr(resuming, "results", gateway.results)
        return gateway

    return begin


def event(cursor: str) -> dict[str, str]:
    return {"cursor": cursor}


async def shown(query: str = FEED, said: list[str] | None = None, **given: Any) -> list[Any]:
    """All that is shown."""
    found: list[Any] = []
    notes = [] if said is None else said
    await Resumed(query, {}, "http://gateway", "hg_key", say=notes.append, **given).each(found.append)
    return found


async def test_it_goes_on_after_the_last_event_that_was_shown(play: Callable[..., Gateway]) -> None:
    said: list[str] = []
    gateway = play([event("a"), event("b"), Lost("gone")], [Lost("still")], [event("c")])
    assert await shown(said=said, after="start") == [event("a"), event("b"), event("c")]
    assert [asked["after"] for asked in gateway.asked] == ["start", "b", "b"]
    assert said == [
        "the connection to http://gateway is lost (gone); connecting again.",
        "connected again; this goes on where it was.",
    ]


async def test_before_the_first_event_it_goes_on_from_the_anchor(play: Callable[..., Gateway]) -> None:
    gateway = play([Lost("gone")], [event("a"), Lost("gone")], [])
    await shown(anchor="here")
    assert [asked["after"] for asked in gateway.asked] == [None, "here", "a"]


async def test_what_has_no_cursor_begins_anew(play: Callable[..., Gateway]) -> None:
    gateway = play([{"percent": 10.0}, Lost("gone")], [{"percent": 100.0}])
    assert await shown(PROGRESS) == [{"percent": 10.0}, {"percent": 100.0}]
    assert gateway.asked == [{}, {}]


async def test_the_pauses_grow_up_to_a_limit_and_start_small_again(play: Callable[..., Gateway], clock: Clock) -> None:
    play(*([Lost("gone")] for _ in range(8)), [event("a"), Lost("gone")], [])
    await shown()
    first, *_, last, again = clock.slept
    assert first < 1 < 3 < last < 7
    assert again < 1


async def test_a_gateway_that_lets_in_and_out_again_is_not_hurried(play: Callable[..., Gateway], clock: Clock) -> None:
    play(*([NOTHING, Lost("too many")] for _ in range(8)), [])
    await shown()
    assert clock.slept[0] < 1 < 3 < clock.slept[-1]


async def test_a_gateway_that_stays_away_is_given_up_with_the_place_to_go_on_from(
    play: Callable[..., Gateway], clock: Clock
) -> None:
    play([event("a"), Lost("gone")], *([Lost("gone")] for _ in range(200)))
    with pytest.raises(Ended, match=r"for 5 minutes\. Go on with --after a$"):
        await shown()
    assert 300 < clock.now < 320


async def test_what_is_refused_is_the_end(play: Callable[..., Gateway]) -> None:
    gateway = play([event("a"), Refused("No longer.")])
    with pytest.raises(Ended, match=r"^No longer\.$"):
        await shown()
    assert len(gateway.asked) == 1
