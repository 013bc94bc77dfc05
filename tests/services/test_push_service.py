"""The Push Service, from a claim to FCM's local endpoint over real HTTP."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.errors import NotFound, UpstreamUnavailable
from domain.notification import Channel, Outcome, Priority, Status
from domain.outgoing import Answer, OutgoingPush, Pinned, PushOptions
from domain.ports import Claim, Known, PushProvider
from domain.recipient import Device, Recipient
from domain.template import Content, Template, TemplateLocale, TemplateVersion
from workers.push.fcm import FcmProvider
from workers.push.service import PushSender
from workers.resilience import Breaker, ProviderChain
from workers.sandbox.fcm import FcmEndpoint

DEADLINE = 10.0
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HELLO = TemplateVersion(
    key="hello",
    version=3,
    default_locale="en",
    published=True,
    locales=(
        TemplateLocale(
            locale="en",
            title="Hello {{ name }}",
            body="You have {{ count }} new.",
            image_url="https://cdn.example/{{ name }}.png",
            data={"count": "{{ count }}", "kind": "greeting"},
        ),
        TemplateLocale(locale="de", title="Hallo {{ name }}", body="{{ count }} neu."),
        TemplateLocale(locale="fr", subject="Bonjour", text="Pas de push."),
    ),
    created_at=NOW,
)


class FakeTemplates:
    """One template version, or an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def published(self, key: str) -> Known[Template]:
        """Never asked: a notification is pinned to its version."""
        raise AssertionError(key)

    async def version(self, key: str, version: int) -> TemplateVersion:
        if self._error is not None:
            raise self._error
        assert (key, version) == ("hello", 3)
        return HELLO


class FakeProvider:
    """Answers by token."""

    name = "fake"

    def __init__(self, answers: dict[str, Answer]) -> None:
        self._answers = answers

    def serves(self, device: Device) -> bool:
        return True

    async def send(self, push: OutgoingPush, deadline: float) -> Answer:
        return self._answers[push.device.token]

    async def close(self) -> None:
        """Nothing to let go of."""


@pytest.fixture
async def endpoint() -> AsyncIterator[FcmEndpoint]:
    fcm = FcmEndpoint(slow=0.05)
    await fcm.start()
    yield fcm
    await fcm.stop()


@pytest.fixture
async def chain(endpoint: FcmEndpoint) -> AsyncIterator[ProviderChain[PushProvider]]:
    fcm = FcmProvider(None, "demo", url=endpoint.url)
    yield chain_of(fcm)
    await fcm.close()


@pytest.fixture
def sender(chain: ProviderChain[PushProvider]) -> PushSender:
    return PushSender(chain, FakeTemplates())


def chain_of(provider: PushProvider, **settings: Any) -> ProviderChain[PushProvider]:
    return ProviderChain(
        [provider], {provider.name: Breaker(provider.name, **settings)}, clock=lambda: datetime.now(UTC)
    )


def claim(*tokens: str, locale: str = "en", **changes: Any) -> Claim:
    devices = tuple(Device(id=f"dev_{n}", token=token) for n, token in enumerate(tokens))
    given: dict[str, Any] = {
        "template": Pinned(key="hello", version=3, locale=locale),
        "content": None,
        "variables": {"name": "Ada", "count": 2},
        "recipient": Recipient(user_id="usr_1", devices=devices),
        "push": None,
    }
    return Claim(
        id="ntf_1",
        token="clm_1",
        attempt=4,
        attempts_used=0,
        claimed_at=NOW,
        lease_until=NOW + timedelta(minutes=1),
        channel=Channel.PUSH,
        category="news",
        priority=Priority.NORMAL,
        status=Status.QUEUED,
        deliver_by=None,
        uncertain=False,
        request_id="r1",
        correlation_id="c1",
        **(given | changes),
    )


# ------------------------------------------------------------------------------------------------------------ what


async def test_the_pinned_version_and_locale_are_rendered(sender: PushSender, endpoint: FcmEndpoint) -> None:
    delivered = await sender.send(claim("token-of-a-phone"), DEADLINE)
    [received] = endpoint.store.messages
    assert delivered.outcome is Outcome.ACCEPTED
    assert (delivered.provider, delivered.provider_message_id) == ("fcm", received.name)
    assert received.message["notification"] == {
        "title": "Hello Ada",
        "body": "You have 2 new.",
        "image": "https://cdn.example/Ada.png",
    }
    assert received.message["data"] == {"count": "2", "kind": "greeting", "notification_id": "ntf_1"}


async def test_another_locale(sender: PushSender, endpoint: FcmEndpoint) -> None:
    await sender.send(claim("token-of-a-phone", locale="de"), DEADLINE)
    assert endpoint.store.messages[0].message["notification"] == {"title": "Hallo Ada", "body": "2 neu."}


async def test_the_callers_options_win_over_the_template(sender: PushSender, endpoint: FcmEndpoint) -> None:
    options = PushOptions(image_url="https://x.example/i.png", data={"kind": "other", "more": "1"}, badge=3)
    await sender.send(claim("token-of-a-phone", push=options), DEADLINE)
    sent = endpoint.store.messages[0].message
    assert sent["notification"]["image"] == "https://x.example/i.png"
    assert sent["data"] == {"count": "2", "kind": "other", "more": "1", "notification_id": "ntf_1"}
    assert sent["android"]["notification"]["notification_count"] == 3


async def test_inline_content_is_rendered_too(sender: PushSender, endpoint: FcmEndpoint) -> None:
    content = Content(title="Hi {{ name }}", body="Bye")
    await sender.send(claim("token-of-a-phone", template=None, content=content), DEADLINE)
    assert endpoint.store.messages[0].message["notification"] == {"title": "Hi Ada", "body": "Bye"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"variables": {"count": 2}}, "undefined_variable"),
        ({"locale": "fr"}, "no_push_content"),
        ({"template": None, "content": Content(subject="Mail", text="only")}, "no_push_content"),
        ({"template": None}, "template_error"),
        ({"recipient": Recipient(user_id="usr_1")}, "no_device"),
    ],
)
async def test_what_cannot_be_rendered_or_addressed_is_permanent(
    sender: PushSender, endpoint: FcmEndpoint, changes: dict[str, Any], code: str
) -> None:
    delivered = await sender.send(claim("token-of-a-phone", **changes), DEADLINE)
    assert (delivered.outcome, delivered.code, delivered.attempts) == (Outcome.PERMANENT, code, ())
    assert delivered.reason
    assert endpoint.store.messages == []


async def test_a_template_that_is_gone_is_permanent(chain: ProviderChain[PushProvider]) -> None:
    delivered = await PushSender(chain, FakeTemplates(NotFound("template", "hello"))).send(claim("t"), DEADLINE)
    assert (delivered.outcome, delivered.code) == (Outcome.PERMANENT, "template_not_found")


async def test_without_the_template_service_nothing_is_tried(chain: ProviderChain[PushProvider]) -> None:
    delivered = await PushSender(chain, FakeTemplates(UpstreamUnavailable("away"))).send(claim("t"), DEADLINE)
    assert delivered.outcome is None
    assert delivered.retry_after is not None
    assert delivered.attempts == ()


# --------------------------------------------------------------------------------------------------- several devices


ACCEPTED, PERMANENT, TRANSIENT = "a-good-token", "a-sandbox-unregistered-token", "a-sandbox-quota-token"
UNKNOWN = "a-sandbox-nameless-token"


@pytest.mark.parametrize(
    ("tokens", "outcome"),
    [
        ((ACCEPTED, PERMANENT, TRANSIENT, UNKNOWN), Outcome.ACCEPTED),
        ((PERMANENT, UNKNOWN, TRANSIENT), Outcome.UNKNOWN),
        ((PERMANENT, TRANSIENT), Outcome.TRANSIENT),
        ((PERMANENT, PERMANENT + "-2"), Outcome.PERMANENT),
    ],
)
async def test_one_outcome_for_all_devices(sender: PushSender, tokens: tuple[str, ...], outcome: Outcome) -> None:
    assert (await sender.send(claim(*tokens), DEADLINE)).outcome is outcome


async def test_every_device_has_its_own_record_without_its_token(sender: PushSender) -> None:
    delivered = await sender.send(claim(ACCEPTED, PERMANENT, TRANSIENT), DEADLINE)
    assert [(attempt.device_id, attempt.outcome, attempt.code) for attempt in delivered.attempts] == [
        ("dev_0", Outcome.ACCEPTED, None),
        ("dev_1", Outcome.PERMANENT, "UNREGISTERED"),
        ("dev_2", Outcome.TRANSIENT, "QUOTA_EXCEEDED"),
    ]
    assert {(attempt.number, attempt.provider) for attempt in delivered.attempts} == {(4, "fcm")}
    assert delivered.detail == {
        "devices": [
            {"device_id": "dev_0", "provider": "fcm", "outcome": "ACCEPTED", "code": None},
            {"device_id": "dev_1", "provider": "fcm", "outcome": "PERMANENT", "code": "UNREGISTERED", "retire": True},
            {"device_id": "dev_2", "provider": "fcm", "outcome": "TRANSIENT", "code": "QUOTA_EXCEEDED"},
        ]
    }
    assert delivered.reason == "Accepted for 1 of 3 devices."
    assert not any(token in str(delivered) for token in (ACCEPTED, PERMANENT, TRANSIENT))


async def test_an_image_in_a_private_network_is_permanent_and_nobody_is_called(
    sender: PushSender, endpoint: FcmEndpoint
) -> None:
    delivered = await sender.send(claim(ACCEPTED, push=PushOptions(image_url="http://10.0.0.1/x.png")), DEADLINE)
    assert (delivered.outcome, delivered.code) == (Outcome.PERMANENT, "invalid_image_url")
    assert delivered.reason == "The image's URL names a host that is not on the public internet."
    assert endpoint.store.messages == []


async def test_a_push_that_becomes_too_large_is_permanent_with_a_sentence(
    sender: PushSender, endpoint: FcmEndpoint
) -> None:
    delivered = await sender.send(claim(ACCEPTED, variables={"name": "x" * 4096, "count": 2}), DEADLINE)
    assert (delivered.outcome, delivered.code) == (Outcome.PERMANENT, "payload_too_large")
    assert delivered.reason is not None
    assert delivered.reason.endswith("more than the 4096 that a push holds.")
    assert endpoint.store.messages == []


async def test_a_token_given_by_the_caller_has_no_device_id(sender: PushSender) -> None:
    recipient = Recipient(devices=(Device(id=None, token=ACCEPTED),))
    delivered = await sender.send(claim(recipient=recipient), DEADLINE)
    assert [attempt.device_id for attempt in delivered.attempts] == [None]


async def test_a_token_that_is_registered_twice_gets_one_push(sender: PushSender, endpoint: FcmEndpoint) -> None:
    await sender.send(claim(ACCEPTED, ACCEPTED), DEADLINE)
    assert len(endpoint.store.messages) == 1


async def test_the_longest_pause_that_is_asked_for_counts() -> None:
    answers = {
        "one": Answer(outcome=Outcome.TRANSIENT, code="X", retry_after=7.0),
        "two": Answer(outcome=Outcome.TRANSIENT, code="X", retry_after=70.0),
        "three": Answer(outcome=Outcome.TRANSIENT, code="X"),
    }
    delivered = await PushSender(chain_of(FakeProvider(answers)), FakeTemplates()).send(claim(*answers), DEADLINE)
    assert delivered.retry_after == 70.0


async def test_more_devices_than_go_at_once_are_all_reached(
    chain: ProviderChain[PushProvider], endpoint: FcmEndpoint
) -> None:
    tokens = [f"token-number-{n}" for n in range(25)]
    delivered = await PushSender(chain, FakeTemplates(), devices_at_once=2).send(claim(*tokens), DEADLINE)
    assert delivered.outcome is Outcome.ACCEPTED
    assert sorted(received.token for received in endpoint.store.messages) == sorted(tokens)


async def test_a_device_that_hangs_does_not_cost_the_others_their_push(
    sender: PushSender, endpoint: FcmEndpoint
) -> None:
    delivered = await sender.send(claim("a-sandbox-hang-token", ACCEPTED), 0.5)
    assert delivered.outcome is Outcome.ACCEPTED
    assert [attempt.outcome for attempt in delivered.attempts] == [Outcome.UNKNOWN, Outcome.ACCEPTED]


# ------------------------------------------------------------------------------------------------------- no provider


async def test_while_the_breaker_is_open_nothing_is_tried_and_no_attempt_is_used(endpoint: FcmEndpoint) -> None:
    fcm = FcmProvider(None, "demo", url=endpoint.url)
    sender = PushSender(chain_of(fcm, fail_max=1, reset_after=60.0), FakeTemplates())
    tripped = await sender.send(claim("sandbox-unavailable-always"), DEADLINE)
    delivered = await sender.send(claim(ACCEPTED, ACCEPTED + "-2"), DEADLINE)
    assert tripped.outcome is Outcome.TRANSIENT
    assert (delivered.outcome, delivered.attempts) == (None, ())
    assert delivered.retry_after is not None
    assert 0 < delivered.retry_after <= 60.0
    assert endpoint.store.messages == []
    await fcm.close()


async def test_devices_that_no_provider_was_left_for_are_tried_again(endpoint: FcmEndpoint) -> None:
    fcm = FcmProvider(None, "demo", url=endpoint.url)
    sender = PushSender(chain_of(fcm, fail_max=1, reset_after=60.0), FakeTemplates(), devices_at_once=1)
    delivered = await sender.send(claim("sandbox-unavailable-always", ACCEPTED), DEADLINE)
    assert delivered.outcome is Outcome.TRANSIENT
    assert [entry["outcome"] for entry in delivered.detail["devices"]] == ["TRANSIENT", None]
    assert len(delivered.attempts) == 1
    await fcm.close()


async def test_nobody_at_the_endpoint_is_transient(endpoint: FcmEndpoint, sender: PushSender) -> None:
    await endpoint.stop()
    delivered = await sender.send(claim(ACCEPTED), DEADLINE)
    assert (delivered.outcome, delivered.code) == (Outcome.TRANSIENT, "not_sent")
