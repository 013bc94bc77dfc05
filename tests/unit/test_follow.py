"""Subscriptions to one notification or one request: they end by themselves, live, replayed or resumed."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from api.gateway.follow import follow_notification, follow_request
from domain.errors import CursorExpired
from domain.notification import Status
from domain.ports import LogRow
from tests.unit.feed_gateway import gateway, log_of, silent, take
from tests.unit.virtual_time import in_virtual_time

SEND = [("ntf_1", Status.ACCEPTED), ("ntf_1", Status.QUEUED), ("ntf_1", Status.SENDING), ("ntf_1", Status.SENT)]


async def all_of(rows: AsyncGenerator[LogRow, None]) -> list[int]:
    """The positions of all rows until the end."""
    return [row.position async for row in rows]


@in_virtual_time
async def test_a_notification_is_followed_from_its_first_change_to_its_first_final_one() -> None:
    async with gateway(log_of(*SEND, ("ntf_1", Status.DELIVERED))) as system:
        assert await all_of(follow_notification(system.feed, "ntf_1")) == [1, 2, 3, 4]
        assert system.feed.live_subscriptions == 0


@in_virtual_time
async def test_a_notification_under_way_is_followed_to_its_end() -> None:
    async with gateway(log_of(*SEND[:2])) as system:
        following = asyncio.ensure_future(all_of(follow_notification(system.feed, "ntf_1", after=2)))
        await asyncio.sleep(1)
        system.commit(system.log.append("ntf_2", Status.SENT), system.log.append("ntf_1", Status.SENT))
        assert await following == [4]


@in_virtual_time
async def test_a_notification_resumed_after_its_end_completes_at_once() -> None:
    async with gateway(log_of(*SEND)) as system:
        assert await all_of(follow_notification(system.feed, "ntf_1", after=4)) == []


@in_virtual_time
async def test_a_notification_resumed_before_a_later_fact_gets_it() -> None:
    async with gateway(log_of(*SEND, ("ntf_1", Status.BOUNCED))) as system:
        assert await all_of(follow_notification(system.feed, "ntf_1", after=4)) == [5]
        assert await all_of(follow_notification(system.feed, "ntf_1", after=5)) == []


@in_virtual_time
async def test_a_notification_that_was_replayed_is_followed_to_its_next_end() -> None:
    log = log_of(("ntf_1", Status.ACCEPTED), ("ntf_1", Status.FAILED), ("ntf_1", Status.QUEUED))
    async with gateway(log) as system:
        for after, expected in ((2, [3, 4]), (3, [4])):
            following = asyncio.ensure_future(all_of(follow_notification(system.feed, "ntf_1", after=after)))
            await asyncio.sleep(1)
            if len(log.rows) == 3:
                system.commit(log.append("ntf_1", Status.SENT))
            assert await following == expected


@in_virtual_time
async def test_with_follow_a_notification_is_followed_on() -> None:
    async with (
        gateway(log_of(*SEND)) as system,
        aclosing(follow_notification(system.feed, "ntf_1", after=4, follow=True)) as rows,
    ):
        waiting = asyncio.ensure_future(take(rows, 1))
        await asyncio.sleep(1)
        system.commit(system.log.append("ntf_1", Status.DELIVERED))
        assert await waiting == [5]
        assert await silent(rows)


@in_virtual_time
async def test_a_request_is_followed_until_each_notification_had_a_final_status() -> None:
    async with gateway(log_of(("ntf_1", Status.SKIPPED), ("ntf_2", Status.ACCEPTED))) as system:
        following = asyncio.ensure_future(all_of(follow_request(system.feed, "req_1", total=2)))
        await asyncio.sleep(1)
        system.commit(system.log.append("ntf_3", Status.SENT, request="req_2"))
        system.commit(system.log.append("ntf_2", Status.SENT))
        assert await following == [1, 2, 4]
        assert system.feed.live_subscriptions == 0


@in_virtual_time
async def test_a_request_resumed_knows_who_had_ended_before() -> None:
    log = log_of(*[(f"ntf_{number}", Status.SENT) for number in range(30)])  # more than a page
    log.append("ntf_30", Status.ACCEPTED)
    async with gateway(log) as system:
        following = asyncio.ensure_future(all_of(follow_request(system.feed, "req_1", total=31, after=25)))
        await asyncio.sleep(1)
        system.commit(log.append("ntf_0", Status.DELIVERED))
        system.commit(log.append("ntf_30", Status.SENT))
        assert await following == [*range(26, 34)]
        assert await all_of(follow_request(system.feed, "req_1", total=31, after=33)) == []


@in_virtual_time
async def test_a_replayed_notification_counts_by_its_first_final_status() -> None:
    log = log_of(("ntf_1", Status.FAILED), ("ntf_1", Status.QUEUED), ("ntf_2", Status.SENT))
    async with gateway(log) as system:
        assert await all_of(follow_request(system.feed, "req_1", total=2)) == [1, 2, 3]
        assert await all_of(follow_request(system.feed, "req_1", total=2, after=2)) == [3]


@in_virtual_time
async def test_subscriptions_that_end_refuse_a_cursor_that_has_expired() -> None:
    async with gateway(log_of(*SEND)) as system:
        for rows in (
            follow_notification(system.feed, "ntf_1", after=9),
            follow_notification(system.feed, "ntf_1", after=9, follow=True),
            follow_request(system.feed, "req_1", total=1, after=9),
            follow_request(system.feed, "req_1", total=1, after=9, follow=True),
        ):
            with pytest.raises(CursorExpired):
                await anext(rows)
