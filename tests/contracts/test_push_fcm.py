"""What is FCM's own, beside what `test_push_providers.py` asks of every provider."""

from collections.abc import AsyncIterator
from pathlib import Path

import firebase_admin
import pytest

from domain.errors import ConfigurationError
from domain.notification import Outcome
from tests.contracts.push_servers import DEADLINE, push
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


async def test_the_message_is_the_projects_and_its_name_is_the_message_id(
    provider: FcmProvider, endpoint: FcmEndpoint
) -> None:
    answer = await provider.send(push(), DEADLINE)
    [received] = endpoint.store.messages
    assert (received.project, received.name) == ("demo", answer.provider_message_id)
    assert received.message["notification"] == {"title": "Hello", "body": "Grüße"}


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("x-sandbox-unregistered", "UNREGISTERED"),
        ("x-sandbox-invalid", "INVALID_ARGUMENT"),
        ("x-sandbox-mismatch", "SENDER_ID_MISMATCH"),
        ("x-sandbox-quota", "QUOTA_EXCEEDED"),
        ("x-sandbox-unavailable-always", "UNAVAILABLE"),
        ("x-sandbox-nameless", "no_message_name"),
    ],
)
async def test_fcms_own_codes(provider: FcmProvider, token: str, code: str) -> None:
    assert (await provider.send(push(token), DEADLINE)).code == code


async def test_our_limit_is_no_wider_than_fcms(provider: FcmProvider) -> None:
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
