"""What every push provider promises, held against real HTTP on the loopback interface."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from domain.notification import Outcome
from domain.ports import PushProvider
from domain.recipient import Device
from tests.contracts.push_servers import DEADLINE, SHORT, canned, push, raw_server
from tests.contracts.push_worlds import FATES, World, world


@pytest.fixture(params=["fcm", "onesignal"])
async def at(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world(request.param) as made:
        yield made


@pytest.fixture
async def provider(at: World) -> AsyncIterator[PushProvider]:
    made = at.make()
    yield made
    await made.close()


async def test_accepted_with_the_providers_message_id_and_our_own_in_the_data(
    at: World, provider: PushProvider
) -> None:
    answer = await provider.send(push(at.token("fine"), data={"order": "17"}), DEADLINE)
    assert answer.outcome is Outcome.ACCEPTED
    assert answer.provider_message_id
    assert at.received == [("Hello", {"order": "17", "notification_id": "ntf_1"})]


@pytest.mark.parametrize(
    ("fate", "outcome"),
    [
        ("gone", Outcome.PERMANENT),
        ("refused", Outcome.PERMANENT),
        ("limited", Outcome.TRANSIENT),
        ("away", Outcome.TRANSIENT),
        ("nameless", Outcome.UNKNOWN),
        ("slow", Outcome.ACCEPTED),
    ],
)
async def test_each_fate(at: World, provider: PushProvider, fate: str, outcome: Outcome) -> None:
    answer = await provider.send(push(at.token(fate)), DEADLINE)
    assert answer.outcome is outcome
    assert answer.retire_contact_point is (fate == "gone")
    assert answer.rate_limited is (fate == "limited")
    assert (answer.code is None) is (outcome is Outcome.ACCEPTED)
    if outcome is not Outcome.ACCEPTED:
        assert answer.detail
        assert at.token(fate).lower() not in answer.detail.lower()


async def test_a_provider_serves_its_own_tokens_only(at: World, provider: PushProvider) -> None:
    for tokens in FATES.values():
        served = [provider.serves(Device(id=None, token=token)) for token in tokens]
        assert served == [place == at.place for place in range(len(tokens))]


async def test_retry_after_is_passed_on(at: World, provider: PushProvider) -> None:
    answer = await provider.send(push(at.token("limited")), DEADLINE)
    assert answer.retry_after == 1.0


async def test_it_does_not_retry_by_itself(at: World, provider: PushProvider) -> None:
    refused = await provider.send(push(at.token("away once")), DEADLINE)
    assert refused.outcome is Outcome.TRANSIENT
    assert at.received == []
    again = await provider.send(push(at.token("away once")), DEADLINE)
    assert again.outcome is Outcome.ACCEPTED
    other = await provider.send(push(at.token("away once"), id="ntf_2"), DEADLINE)
    assert other.outcome is Outcome.TRANSIENT


async def test_no_answer_in_time_is_unknown(at: World, provider: PushProvider) -> None:
    answer = await provider.send(push(at.token("hangs")), SHORT)
    assert (answer.outcome, answer.code) == (Outcome.UNKNOWN, "no_answer")


async def test_nobody_listening_is_transient(at: World) -> None:
    async with raw_server(canned(b"")) as gone:
        url = gone.url
    provider = at.make(url)
    answer = await provider.send(push(at.token("fine")), DEADLINE)
    assert (answer.outcome, answer.code) == (Outcome.TRANSIENT, "not_sent")
    await provider.close()


async def test_a_payload_over_4_kilobytes_is_refused_without_a_call(at: World, provider: PushProvider) -> None:
    answer = await provider.send(push(at.token("fine"), data={"k": "v" * 4096}), DEADLINE)
    assert (answer.outcome, answer.code) == (Outcome.PERMANENT, "payload_too_large")
    assert answer.detail is not None
    assert "4096" in answer.detail
    assert at.received == []


async def test_many_at_once_share_a_bounded_number_of_connections(at: World) -> None:
    async with raw_server(canned(at.answer)) as server:
        provider = at.make(server.url, connections=8)
        sent = (provider.send(push(at.token("fine"), id=f"ntf_{n}"), DEADLINE) for n in range(200))
        answers = await asyncio.gather(*sent)
        assert Counter(answer.outcome for answer in answers) == {Outcome.ACCEPTED: 200}
        assert 1 <= server.connections <= 8
        await provider.close()


async def test_waiting_for_a_free_connection_ends_with_the_deadline_and_nothing_sent(at: World) -> None:
    provider = at.make(connections=1)
    hanging = asyncio.create_task(provider.send(push(at.token("hangs")), DEADLINE))
    await asyncio.sleep(0)
    answer = await provider.send(push(at.token("fine")), SHORT)
    assert (answer.outcome, answer.code) == (Outcome.TRANSIENT, "not_sent")
    hanging.cancel()
    await asyncio.wait({hanging})
    assert (await provider.send(push(at.token("fine")), DEADLINE)).outcome is Outcome.ACCEPTED
    await provider.close()


async def test_a_timed_out_call_leaves_nothing_behind(at: World, provider: PushProvider) -> None:
    await provider.send(push(at.token("hangs")), SHORT)
    answers = [await provider.send(push(at.token("fine"), id=f"ntf_{n}"), DEADLINE) for n in range(5)]
    assert len({answer.provider_message_id for answer in answers}) == 5
    assert [data["notification_id"] for _, data in at.received] == [f"ntf_{n}" for n in range(5)]


async def test_closing_twice_is_fine_and_later_calls_are_not_sent(at: World, provider: PushProvider) -> None:
    await provider.send(push(at.token("fine")), DEADLINE)
    await provider.close()
    await provider.close()
    answer = await provider.send(push(at.token("fine")), DEADLINE)
    assert (answer.outcome, answer.code) == (Outcome.TRANSIENT, "not_sent")
