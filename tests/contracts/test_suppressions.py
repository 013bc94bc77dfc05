"""What suppressions promise, on both engines."""

import asyncio

import pytest

from api.gateway.suppressions import ERASED, SqlSuppressions
from domain.errors import NotFound
from domain.notification import Channel
from tests.contracts.gateway_store import Store

ADA, BOB = "ada@example.com", "bob@example.com"


async def blocked(store: Store, *points: str, channel: Channel = Channel.EMAIL) -> dict[str, str]:
    return dict(await store.suppressions.among(channel, points))


async def test_what_is_added_is_found_with_its_reason(store: Store) -> None:
    await store.suppressions.add(Channel.EMAIL, ADA, "hard bounce")
    assert await blocked(store, ADA, BOB) == {ADA: "hard bounce"}


async def test_the_first_one_counts_at_once_although_there_were_none(store: Store) -> None:
    assert await blocked(store, ADA) == {}
    await store.suppressions.add(Channel.EMAIL, ADA, "hard bounce")
    assert await blocked(store, ADA) == {ADA: "hard bounce"}


async def test_the_first_one_that_another_process_adds_counts_within_a_second(store: Store) -> None:
    assert await blocked(store, ADA) == {}
    other = SqlSuppressions(store.database, "a secret that keys the hashes")
    await other.add(Channel.EMAIL, ADA, "hard bounce")
    async with asyncio.timeout(10):
        while await blocked(store, ADA) == {}:  # noqa: ASYNC110 - the clock is what changes
            await asyncio.sleep(0.05)


async def test_an_address_is_found_in_any_casing_and_a_token_only_in_its_own(store: Store) -> None:
    await store.suppressions.add(Channel.EMAIL, "Ada@Example.com")
    await store.suppressions.add(Channel.PUSH, "TokenToken")
    assert list(await blocked(store, ADA)) == [ADA]
    assert await blocked(store, "tokentoken", channel=Channel.PUSH) == {}


async def test_a_block_on_one_channel_is_none_on_the_other(store: Store) -> None:
    await store.suppressions.add(Channel.PUSH, "12345678")
    assert await blocked(store, "12345678", channel=Channel.EMAIL) == {}


async def test_adding_again_keeps_the_first_reason(store: Store) -> None:
    first = await store.suppressions.add(Channel.EMAIL, ADA, "complaint")
    assert await store.suppressions.add(Channel.EMAIL, "ADA@example.com", "hard bounce") == first


async def test_many_who_ask_at_once_each_get_their_own_answer(store: Store) -> None:
    await store.suppressions.add(Channel.EMAIL, ADA, "complaint")
    answers = await asyncio.gather(*(blocked(store, point) for point in [ADA, BOB] * 20))
    assert answers == [{ADA: "complaint"}, {}] * 20


async def test_what_is_lifted_is_free_again(store: Store) -> None:
    added = await store.suppressions.add(Channel.EMAIL, ADA)
    await store.suppressions.lift(added.id)
    assert await blocked(store, ADA) == {}
    with pytest.raises(NotFound):
        await store.suppressions.lift(added.id)
    with pytest.raises(NotFound):
        await store.suppressions.get(added.id)


async def test_pages_are_newest_first_and_by_channel(store: Store) -> None:
    added = [await store.suppressions.add(Channel.EMAIL, f"{number}@example.com") for number in range(3)]
    token = await store.suppressions.add(Channel.PUSH, "12345678")
    assert await store.suppressions.page(None, 1, 2) == ([token, added[2]], 4)
    assert await store.suppressions.page(Channel.EMAIL, 2, 2) == ([added[0]], 3)


async def test_forgetting_keeps_the_block_and_not_the_contact_point(store: Store) -> None:
    added = await store.suppressions.add(Channel.EMAIL, ADA, "complaint")
    await store.suppressions.forget(Channel.EMAIL, [ADA, BOB])
    assert (await store.suppressions.get(added.id)).contact_point == ERASED
    assert await blocked(store, ADA) == {ADA: "complaint"}
    rows = await store.database.query("SELECT * FROM suppressions")
    assert ADA not in str(rows)


async def test_another_secret_finds_nothing(store: Store) -> None:
    await store.suppressions.add(Channel.EMAIL, ADA)
    assert await SqlSuppressions(store.database, "another secret").among(Channel.EMAIL, [ADA]) == {}
