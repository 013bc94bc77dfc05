"""What the feed says when the old part of the log is removed under it: never a hole without a word."""

import asyncio
from contextlib import aclosing

import pytest

from api.gateway.follow import follow_notification, follow_request
from domain.channels import STATUS_CHANNEL
from domain.doorbell import encode_head
from domain.errors import CursorExpired
from domain.notification import Status
from domain.ports import LogFilter
from tests.unit.feed_fakes import FakeLog
from tests.unit.feed_gateway import gateway, log_of, silent, take
from tests.unit.virtual_time import in_virtual_time

ANY = LogFilter()
WAY = [Status.ACCEPTED, Status.QUEUED, Status.SENDING, Status.SENT]


def log_with(count: int) -> FakeLog:
    """A log of `count` entries of one notification."""
    return log_of(*[("ntf_1", Status.QUEUED)] * count)


@pytest.mark.parametrize("known", [True, False], ids=["known", "not known yet"])
def test_a_cursor_below_the_horizon_has_expired_and_says_what_to_do(known: bool) -> None:
    @in_virtual_time
    async def run() -> None:
        log = log_with(5)
        async with gateway(log) as system:
            log.prune(2)
            system.feed.horizon = 2 if known else 0
            with pytest.raises(CursorExpired, match="Subscribe again without `after`"):
                await anext(system.feed.subscribe(ANY, 1))
            assert system.feed.live_subscriptions == 0

    run()


@in_virtual_time
async def test_a_cursor_at_the_horizon_goes_on() -> None:
    log = log_with(5)
    async with gateway(log) as system, aclosing(system.feed.subscribe(ANY, 2)) as rows:
        log.prune(2)
        system.feed.horizon = 2
        assert await take(rows, 3) == [3, 4, 5]


@in_virtual_time
async def test_a_slow_reader_that_the_horizon_overtakes_is_told() -> None:
    log = log_with(12)  # three pages of four
    async with gateway(log) as system, aclosing(system.feed.subscribe(ANY, 0)) as rows:
        assert await take(rows, 4) == [1, 2, 3, 4]
        log.prune(6)
        with pytest.raises(CursorExpired):
            await anext(rows)
        assert system.feed.live_subscriptions == 0


@in_virtual_time
async def test_a_reader_that_the_horizon_does_not_overtake_notices_nothing() -> None:
    log = log_with(12)
    async with gateway(log) as system, aclosing(system.feed.subscribe(ANY, 0)) as rows:
        assert await take(rows, 4) == [1, 2, 3, 4]
        log.prune(4)
        assert await take(rows, 8) == list(range(5, 13))


@in_virtual_time
async def test_a_subscriber_that_was_cut_off_and_overtaken_is_told() -> None:
    log = FakeLog()
    async with gateway(log) as system, aclosing(system.feed.subscribe(ANY)) as rows:
        first = asyncio.ensure_future(take(rows, 1))
        await asyncio.sleep(1)
        system.commit(log.append())
        assert await first == [1]
        system.commit(*[log.append() for _ in range(9)])  # more than wait for a slow client
        await system.caught_up()
        log.prune(9)
        assert await take(rows, 4) == [2, 3, 4, 5]
        with pytest.raises(CursorExpired):
            await anext(rows)


@in_virtual_time
async def test_a_follower_that_stood_still_while_the_log_was_pruned_goes_on_and_its_subscribers_are_told() -> None:
    log = log_with(1)
    async with gateway(log) as system, aclosing(system.feed.subscribe(ANY, 1)) as rows:
        waiting = asyncio.ensure_future(anext(rows))
        await asyncio.sleep(1)
        for _ in range(9):
            log.append()
        log.prune(5)
        system.bell.ring(STATUS_CHANNEL, encode_head(10))
        with pytest.raises(CursorExpired):
            await waiting
        assert system.feed.position == 10
        async with aclosing(system.feed.subscribe(ANY, 10)) as later:
            following = asyncio.ensure_future(take(later, 1))
            await asyncio.sleep(1)
            system.commit(log.append())
            assert await following == [11]


@in_virtual_time
async def test_whoever_follows_one_notification_goes_on_when_the_follower_stood_still() -> None:
    log = log_of(("ntf_1", Status.ACCEPTED))
    async with gateway(log) as system, aclosing(follow_notification(system.feed, "ntf_1")) as rows:
        assert await take(rows, 1) == [1]
        waiting = asyncio.ensure_future(take(rows, 2))
        await asyncio.sleep(1)
        log.append("ntf_2", Status.SENT)
        log.append("ntf_1", Status.QUEUED)
        log.append("ntf_1", Status.SENT)
        log.prune(4)
        system.bell.ring(STATUS_CHANNEL, encode_head(4))
        assert await waiting == [3, 4]


@in_virtual_time
async def test_what_is_kept_is_followed_from_its_first_entry_wherever_the_horizon_is() -> None:
    log = log_of(*[("ntf_1", status) for status in WAY])
    log.append("ntf_2", Status.SENT, request="req_2")
    async with gateway(log) as system:
        log.prune(5)
        system.feed.horizon = 5
        rows = [row async for row in follow_notification(system.feed, "ntf_1")]
        assert [row.sequence for row in rows] == [1, 2, 3, 4]
        assert [row.position async for row in follow_request(system.feed, "req_1", total=1)] == [1, 2, 3, 4]


@in_virtual_time
async def test_a_notification_is_not_resumed_below_the_horizon() -> None:
    log = log_of(*[("ntf_1", status) for status in WAY])
    async with gateway(log) as system:
        log.prune(3)
        system.feed.horizon = 3
        for follow in (False, True):
            with pytest.raises(CursorExpired):
                await anext(follow_notification(system.feed, "ntf_1", after=2, follow=follow))


@in_virtual_time
async def test_what_is_removed_under_its_reader_is_no_silence() -> None:
    log = log_of(*[("ntf_1", Status.QUEUED)] * 6)
    async with gateway(log) as system:
        for rows, count in (
            (follow_notification(system.feed, "ntf_1"), 4),  # in the middle
            (follow_request(system.feed, "req_1", total=1), 0),  # after it was found, before it was read
        ):
            async with aclosing(rows):
                assert len(await take(rows, count)) == count
                log.prune(6, "ntf_1", "req_1")
                with pytest.raises(CursorExpired):
                    await anext(rows)
        assert system.feed.live_subscriptions == 0


@in_virtual_time
async def test_a_feed_that_begins_now_has_no_part_in_the_past() -> None:
    log = log_with(5)
    async with gateway(log) as system:
        log.prune(5)
        assert await silent(system.feed.subscribe(ANY))
