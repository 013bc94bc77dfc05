"""The feed: rings are taken where they fit, the log fills every hole, and each subscription is a cursor over the log.

`test_feed_properties.py` shuffles all of this; here each promise stands by itself.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing

import pytest

from api.gateway.live import Audience, Live
from domain.channels import STATUS_CHANNEL
from domain.doorbell import encode_head
from domain.errors import CursorExpired
from domain.notification import Channel, Status
from domain.ports import LogFilter, LogRow
from tests.unit.feed_fakes import FakeLog
from tests.unit.feed_gateway import Gateway, gateway, log_of, silent, take
from tests.unit.virtual_time import in_virtual_time

ANY = LogFilter()


# ---------------------------------------------------------------------------------------------------- the follower


@in_virtual_time
async def test_rows_that_go_on_where_it_stands_are_taken_from_the_ring() -> None:
    async with gateway() as system, aclosing(system.feed.subscribe(ANY, 0)) as rows:
        system.commit(system.log.append(), system.log.append())
        assert await take(rows, 2) == [1, 2]
        system.commit(system.log.append())
        assert await take(rows, 1) == [3]
        assert system.log.reads == 0


@in_virtual_time
async def test_a_hole_is_filled_from_the_log() -> None:
    async with gateway() as system, aclosing(system.feed.subscribe(ANY)) as rows:
        system.log.append()
        system.commit(system.log.append())
        assert await take(rows, 2) == [1, 2]


@in_virtual_time
async def test_a_hole_of_several_pages_is_filled_at_once() -> None:
    async with gateway() as system, aclosing(system.feed.subscribe(ANY)) as rows:
        for _ in range(34):
            system.log.append()
        system.commit(system.log.append())
        assert await take(rows, 35) == list(range(1, 36))


@pytest.mark.parametrize("payload", [b"", b"nonsense", encode_head(2)], ids=["reconnected", "unreadable", "heartbeat"])
def test_a_ring_without_rows_makes_it_look(payload: bytes) -> None:
    @in_virtual_time
    async def run() -> None:
        async with gateway() as system, aclosing(system.feed.subscribe(ANY)) as rows:
            system.log.append()
            system.log.append()
            system.bell.ring(STATUS_CHANNEL, payload)
            assert await take(rows, 2) == [1, 2]

    run()


@in_virtual_time
async def test_a_heartbeat_that_says_nothing_new_reads_nothing() -> None:
    async with gateway(log_of(("ntf_1", Status.ACCEPTED))) as system:
        system.bell.ring(STATUS_CHANNEL, encode_head(1))
        await asyncio.sleep(60)
        assert system.log.reads == 0


@in_virtual_time
async def test_without_any_ring_it_polls() -> None:
    async with gateway(poll=1.0) as system, aclosing(system.feed.subscribe(ANY)) as rows:
        for _ in range(25):  # more than a page
            system.log.append()
        assert await take(rows, 25) == list(range(1, 26))


@in_virtual_time
async def test_rings_twice_and_in_disorder_pass_each_row_once_and_in_order() -> None:
    async with gateway() as system, aclosing(system.feed.subscribe(ANY)) as rows:
        first, second, third = (system.log.append() for _ in range(3))
        for ring in ([third], [first, second], [first], [third], [second, third]):
            system.commit(*ring)
        assert await take(rows, 3) == [1, 2, 3]
        assert await silent(rows)


@in_virtual_time
async def test_rows_of_a_ring_with_a_hole_inside_are_not_trusted() -> None:
    async with gateway() as system, aclosing(system.feed.subscribe(ANY)) as rows:
        first, _, third = (system.log.append() for _ in range(3))
        system.commit(first, third)
        assert await take(rows, 3) == [1, 2, 3]


@in_virtual_time
async def test_a_database_that_is_away_is_waited_for() -> None:
    async with gateway(poll=1.0) as system, aclosing(system.feed.subscribe(ANY)) as rows:
        system.log.away = True
        system.log.append()
        system.bell.ring(STATUS_CHANNEL)
        await asyncio.sleep(60)
        assert system.feed.position == 0
        system.log.away = False
        assert await take(rows, 1) == [1]


@in_virtual_time
async def test_it_starts_at_the_head_once_the_database_is_there() -> None:
    log = log_of(("ntf_1", Status.ACCEPTED))
    log.away = True
    system = Gateway(log, poll=1.0, buffer=4)
    await system.feed.start()
    async with aclosing(system.feed.subscribe(ANY)) as rows:
        waiting = asyncio.ensure_future(take(rows, 1))
        await asyncio.sleep(60)
        log.away = False
        await system.caught_up()
        assert system.feed.position == 1
        log.append()
        assert await waiting == [2]
    await system.feed.stop()


@in_virtual_time
async def test_lag_counts_the_rows_that_are_known_and_not_handed_out() -> None:
    async with gateway(poll=1.0) as system:
        system.log.away = True
        for _ in range(3):
            system.log.append()
        system.bell.ring(STATUS_CHANNEL, encode_head(3))
        await asyncio.sleep(10)
        assert system.feed.lag == 3
        system.log.away = False
        await system.caught_up()
        await asyncio.sleep(10)
        assert system.feed.lag == 0


# ------------------------------------------------------------------------------------------------- a subscription


@in_virtual_time
async def test_replay_and_live_join_without_hole_or_duplicate() -> None:
    log = log_of(*[("ntf_1", Status.QUEUED)] * 25)
    async with gateway(log) as system, aclosing(system.feed.subscribe(ANY, 2)) as rows:
        assert await take(rows, 3) == [3, 4, 5]  # it is in the middle of its replay
        system.commit(log.append(), log.append())
        await system.caught_up()
        assert await take(rows, 22) == list(range(6, 28))
        assert await live_again(system, rows) == 28


@in_virtual_time
async def test_without_a_cursor_it_is_live_from_the_call_on() -> None:
    async with gateway(log_of(("ntf_1", Status.ACCEPTED))) as system, aclosing(system.feed.subscribe(ANY)) as rows:
        system.commit(system.log.append())  # before the first step
        await system.caught_up()
        assert await take(rows, 1) == [2]


@in_virtual_time
async def test_each_filter_gets_its_rows() -> None:
    log = FakeLog()
    log.append("ntf_1", Status.ACCEPTED, request="req_1", user_id="usr_1")
    log.append("ntf_2", Status.ACCEPTED, request="req_1", channel=Channel.PUSH)
    log.append("ntf_3", Status.SKIPPED, request="req_2", user_id="usr_1")
    expected = {
        LogFilter(notification_id="ntf_2"): [2, 5],
        LogFilter(request="req_1"): [1, 2, 4, 5],
        LogFilter(user_id="usr_1"): [1, 3, 4, 6],
        LogFilter(user_id="usr_1", request="req_2"): [3, 6],
        LogFilter(channel=Channel.PUSH): [2, 5],
        LogFilter(status=frozenset({Status.SKIPPED, Status.SENT})): [3, 6],
        ANY: [1, 2, 3, 4, 5, 6],
    }
    async with gateway(log) as system:
        readers = [
            asyncio.ensure_future(take(system.feed.subscribe(where, 0), len(all_))) for where, all_ in expected.items()
        ]
        await asyncio.sleep(1)
        system.commit(
            log.append("ntf_1", Status.QUEUED, request="req_1", user_id="usr_1"),
            log.append("ntf_2", Status.QUEUED, request="req_1", channel=Channel.PUSH),
            log.append("ntf_3", Status.SENT, request="req_2", user_id="usr_1"),
        )
        assert await asyncio.gather(*readers) == list(expected.values())


@in_virtual_time
async def test_a_cursor_beyond_the_head_has_expired() -> None:
    async with gateway(log_of(*[("ntf_1", Status.QUEUED)] * 5)) as system:
        with pytest.raises(CursorExpired):
            await anext(system.feed.subscribe(ANY, 6))
        assert system.feed.live_subscriptions == 0


@in_virtual_time
async def test_a_cursor_of_a_gateway_that_is_ahead_is_honoured() -> None:
    async with gateway(poll=60) as system:
        for _ in range(3):
            system.log.append()
        async with aclosing(system.feed.subscribe(ANY, 2)) as rows:
            assert system.feed.position == 0
            assert await take(rows, 1) == [3]


@in_virtual_time
async def test_a_slow_client_reads_the_log_at_its_own_pace_and_joins_again() -> None:
    async with gateway(buffer=4) as system, aclosing(system.feed.subscribe(ANY, 0)) as rows:
        system.commit(system.log.append())
        assert await take(rows, 1) == [1]
        assert system.log.reads == 0
        for _ in range(50):
            system.commit(system.log.append())
        await system.caught_up()
        assert await take(rows, 50) == list(range(2, 52))
        reads = system.log.reads
        assert reads > 0
        assert await live_again(system, rows) == 52
        assert system.log.reads == reads


async def live_again(system: Gateway, rows: AsyncGenerator[LogRow, None]) -> int:
    """The position of a row that comes while the client waits for it."""
    waiting = asyncio.ensure_future(take(rows, 1))
    await asyncio.sleep(1)
    system.commit(system.log.append())
    return (await waiting)[0]


@in_virtual_time
async def test_a_subscription_that_ends_in_any_way_is_gone() -> None:
    async with gateway() as system:
        closed, cancelled, failed = (system.feed.subscribe(ANY) for _ in range(3))
        waiting = [asyncio.ensure_future(anext(rows)) for rows in (closed, cancelled, failed)]
        await asyncio.sleep(1)
        assert system.feed.live_subscriptions == 3
        system.commit(system.log.append())
        await asyncio.gather(*waiting)
        await closed.aclose()
        assert system.feed.live_subscriptions == 2
        step = asyncio.ensure_future(anext(cancelled))
        await asyncio.sleep(1)
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)
        assert system.feed.live_subscriptions == 1
        with pytest.raises(ZeroDivisionError):
            await failed.athrow(ZeroDivisionError())
        assert system.feed.live_subscriptions == 0


class Untouchable(LogFilter, frozen=True, kw_only=True):
    """A filter that must not be asked."""

    def admits(self, row: LogRow) -> bool:
        raise AssertionError(f"asked about {row}")


def test_subscriptions_to_something_else_are_not_even_asked() -> None:
    audience, row = Audience(), FakeLog().append("ntf_1", request="req_1", user_id="usr_1")
    idle = [
        Untouchable(notification_id="ntf_2", request="req_1"),
        Untouchable(request="req_2", user_id="usr_1"),
        Untouchable(user_id="usr_2"),
    ]
    with ExitStack() as stack:
        for where in idle:
            stack.enter_context(audience.joined(Live(where, since=0, after=0, bound=1)))
        audience.tell(row)
        assert len(audience) == 3
    assert len(audience) == 0


@in_virtual_time
async def test_who_stands_still_is_cut_off_and_costs_nothing_more() -> None:
    audience, log = Audience(), FakeLog()
    with audience.joined(Live(ANY, since=0, after=0, bound=2)) as live:
        audience.tell(log.append())
        audience.tell(log.append())
        assert len(audience) == 1
        audience.tell(log.append())
        assert len(audience) == 0
        assert await live.take() == log.rows[:2]
        assert await live.take() == []
