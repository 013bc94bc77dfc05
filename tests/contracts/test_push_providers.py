"""What every push provider promises, held against real HTTP on the loopback interface."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import firebase_admin
import pytest

from domain.errors import ConfigurationError
from domain.notification import Outcome
from tests.contracts.push_servers import DEADLINE, OK, SHORT, canned, push, raw_server
from workers.push.fcm import FcmProvider
from workers.sandbox.fcm import FcmEndpoint


@pytest.fixture
async def endpoint() -> AsyncIterator[FcmEndpoint]:
    fcm = FcmEndpoint(slow=0.05)
    await fcm.start()
    yield fcm
    await fcm.stop()


@pytest.fixture
async def provider(endpoint: FcmEndpoint) -> AsyncIterator[FcmProvider]:
    fcm = FcmProvider(None, "demo", url=endpoint.url)
    yield fcm
    await fcm.close()


async def test_accepted_with_the_providers_message_id(provider: FcmProvider, endpoint: FcmEndpoint) -> None:
    answer = await provider.send(push(data={"order": "17"}), DEADLINE)
    [received] = endpoint.store.messages
    assert answer.outcome is Outcome.ACCEPTED
    assert answer.provider_message_id == received.name
    assert received.project == "demo"
    assert received.message["notification"] == {"title": "Hello", "body": "Grüße"}
    assert received.message["data"] == {"order": "17", "notification_id": "ntf_1"}


@pytest.mark.parametrize(
    ("token", "outcome", "code"),
    [
        ("x-sandbox-unregistered", Outcome.PERMANENT, "UNREGISTERED"),
        ("x-sandbox-invalid", Outcome.PERMANENT, "INVALID_ARGUMENT"),
        ("x-sandbox-mismatch", Outcome.PERMANENT, "SENDER_ID_MISMATCH"),
        ("x-sandbox-quota", Outcome.TRANSIENT, "QUOTA_EXCEEDED"),
        ("x-sandbox-unavailable-always", Outcome.TRANSIENT, "UNAVAILABLE"),
        ("x-sandbox-nameless", Outcome.UNKNOWN, "no_message_name"),
        ("x-sandbox-slow", Outcome.ACCEPTED, None),
    ],
)
async def test_each_fate(provider: FcmProvider, token: str, outcome: Outcome, code: str | None) -> None:
    answer = await provider.send(push(token), DEADLINE)
    assert (answer.outcome, answer.code) == (outcome, code)
    assert answer.retire_contact_point is (code == "UNREGISTERED")
    assert token not in (answer.detail or "")


async def test_retry_after_is_passed_on(provider: FcmProvider) -> None:
    answer = await provider.send(push("sandbox-quota"), DEADLINE)
    assert answer.retry_after == 1.0


async def test_it_does_not_retry_by_itself(provider: FcmProvider, endpoint: FcmEndpoint) -> None:
    refused = await provider.send(push("sandbox-unavailable"), DEADLINE)
    assert refused.outcome is Outcome.TRANSIENT
    assert endpoint.store.messages == []
    again = await provider.send(push("sandbox-unavailable"), DEADLINE)
    assert again.outcome is Outcome.ACCEPTED
    other = await provider.send(push("sandbox-unavailable", id="ntf_2"), DEADLINE)
    assert other.outcome is Outcome.TRANSIENT


async def test_no_answer_in_time_is_unknown(provider: FcmProvider) -> None:
    answer = await provider.send(push("sandbox-hang"), SHORT)
    assert (answer.outcome, answer.code) == (Outcome.UNKNOWN, "no_answer")


async def test_nobody_listening_is_transient(endpoint: FcmEndpoint) -> None:
    await endpoint.stop()
    provider = FcmProvider(None, "demo", url=endpoint.url)
    answer = await provider.send(push(), DEADLINE)
    assert (answer.outcome, answer.code) == (Outcome.TRANSIENT, "not_sent")
    await provider.close()


async def test_a_payload_over_4_kilobytes_is_refused_without_a_call(
    provider: FcmProvider, endpoint: FcmEndpoint
) -> None:
    answer = await provider.send(push(data={"k": "v" * 4096}), DEADLINE)
    assert (answer.outcome, answer.code) == (Outcome.PERMANENT, "payload_too_large")
    assert endpoint.store.messages == []


async def test_our_limit_is_no_wider_than_the_providers(provider: FcmProvider) -> None:
    for size in range(3900, 4097):
        answer = await provider.send(push(data={"k": "v" * size}), DEADLINE)
        if answer.code == "payload_too_large":
            return
        assert answer.outcome is Outcome.ACCEPTED
    pytest.fail("nothing was too large")


async def test_what_is_no_message_is_permanent(provider: FcmProvider, endpoint: FcmEndpoint) -> None:
    answer = await provider.send(push(data={"k": 1}), DEADLINE)
    assert (answer.outcome, answer.code) == (Outcome.PERMANENT, "invalid_message")
    assert endpoint.store.messages == []


async def test_many_at_once_share_a_bounded_number_of_connections() -> None:
    async with raw_server(canned(OK)) as server:
        provider = FcmProvider(None, "demo", url=server.url, connections=8)
        answers = await asyncio.gather(*(provider.send(push(id=f"ntf_{n}"), DEADLINE) for n in range(200)))
        assert Counter(answer.outcome for answer in answers) == {Outcome.ACCEPTED: 200}
        assert 1 <= server.connections <= 8
        await provider.close()


async def test_waiting_for_a_free_connection_ends_with_the_deadline_and_nothing_sent(endpoint: FcmEndpoint) -> None:
    provider = FcmProvider(None, "demo", url=endpoint.url, connections=1)
    hanging = asyncio.create_task(provider.send(push("sandbox-hang"), DEADLINE))
    await asyncio.sleep(0)
    answer = await provider.send(push("waits"), SHORT)
    assert (answer.outcome, answer.code) == (Outcome.TRANSIENT, "not_sent")
    hanging.cancel()
    await asyncio.wait({hanging})
    assert (await provider.send(push("next"), DEADLINE)).outcome is Outcome.ACCEPTED
    await provider.close()


async def test_a_cancelled_or_timed_out_call_leaves_nothing_behind(
    provider: FcmProvider, endpoint: FcmEndpoint
) -> None:
    await provider.send(push("sandbox-hang"), SHORT)
    answers = [await provider.send(push(f"token-{n}"), DEADLINE) for n in range(5)]
    names = [received.name for received in endpoint.store.messages]
    assert [answer.provider_message_id for answer in answers] == names


async def test_closing_twice_is_fine_and_later_calls_are_not_sent(provider: FcmProvider) -> None:
    await provider.send(push(), DEADLINE)
    await provider.close()
    await provider.close()
    answer = await provider.send(push(), DEADLINE)
    assert (answer.outcome, answer.code) == (Outcome.TRANSIENT, "not_sent")


async def test_two_providers_live_side_by_side_and_leave_no_firebase_app(endpoint: FcmEndpoint) -> None:
    before = set(firebase_admin._apps)
    one, two = (FcmProvider(None, project, url=endpoint.url) for project in ("one", "two"))
    await one.close()
    assert (await two.send(push(), DEADLINE)).outcome is Outcome.ACCEPTED
    assert endpoint.store.messages[0].project == "two"
    await two.close()
    assert set(firebase_admin._apps) == before


@pytest.mark.parametrize("url", [None, "ftp://example.test", "nonsense"])
def test_a_provider_that_cannot_work_is_not_made(url: str | None) -> None:
    with pytest.raises(ConfigurationError, match="FCM"):
        FcmProvider(None, "demo", url=url)


def test_a_bad_credentials_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text('{"type": "user"}')
    for name in ("key.json", "missing.json"):
        with pytest.raises(ConfigurationError, match="credentials file"):
            FcmProvider(str(tmp_path / name), "demo")
