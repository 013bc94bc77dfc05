"""What is OneSignal's own, beside what `test_push_providers.py` asks of every provider."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.errors import ConfigurationError
from domain.notification import Outcome
from domain.outgoing import OutgoingPush, PushAction, PushOptions
from domain.recipient import Device
from tests.contracts.onesignal_server import API_KEY, APP_ID, OneSignal
from tests.contracts.push_servers import DEADLINE, push, served
from workers.push.onesignal import OneSignalProvider

SUBSCRIPTION = "11111111-2222-4333-8444-55555555"
FINE = SUBSCRIPTION + "5555"
RICH = PushOptions(
    image_url="https://cdn.example/parcel.png",
    click_url="https://shop.example/orders/17",
    data={"order": "17"},
    badge=0,
    sound="chime.wav",
    collapse_key="order-17",
    ttl_seconds=3600,
    actions=(
        PushAction(id="track", title="Track", url="https://shop.example/t/17"),
        PushAction(id="hide", title="Hide"),
        PushAction(id="call", title="Call"),
        PushAction(id="more", title="More"),
    ),
)
MOBILE = {"collapse_id", "buttons"}
ANDROID = {"big_picture", "huawei_big_picture", "adm_big_picture"}
IOS = {"ios_attachments", "ios_badgeType", "ios_badgeCount", "ios_sound"}
WEB = {"chrome_web_image", "web_push_topic", "web_buttons"}
ALWAYS = {
    *("app_id", "include_subscription_ids", "idempotency_key", "data", "headings", "contents", "ttl", "url"),
}


@pytest.fixture
async def onesignal() -> OneSignal:
    return OneSignal()


@pytest.fixture
async def provider(onesignal: OneSignal) -> AsyncIterator[OneSignalProvider]:
    async with served(onesignal.app) as server:
        made = OneSignalProvider(APP_ID, API_KEY, url=server.url)
        yield made
        await made.close()


def rich(platform: str | None) -> OutgoingPush:
    device = Device(id="dev_1", token=FINE, platform=platform)
    return OutgoingPush(device=device, title="Hello", body="Grüße", options=RICH, notification_id="ntf_1")


async def sent(provider: OneSignalProvider, onesignal: OneSignal, one: OutgoingPush) -> dict[str, Any]:
    """The one message that the endpoint took."""
    answer = await provider.send(one, DEADLINE)
    assert answer.outcome is Outcome.ACCEPTED, answer
    [message] = onesignal.messages
    return message


async def test_rich_content_has_its_field_on_every_platform(provider: OneSignalProvider, onesignal: OneSignal) -> None:
    message = await sent(provider, onesignal, rich(None))
    assert {name: message[name] for name in sorted(ANDROID)} == dict.fromkeys(sorted(ANDROID), RICH.image_url)
    assert message["ios_attachments"] == {"image": RICH.image_url}
    assert message["chrome_web_image"] == RICH.image_url
    assert (message["url"], message["ttl"], message["ios_sound"]) == (RICH.click_url, 3600, "chime.wav")
    assert (message["ios_badgeType"], message["ios_badgeCount"]) == ("SetTo", 0)
    assert message["collapse_id"] == message["web_push_topic"] == "order-17"
    assert [button["id"] for button in message["buttons"]] == ["track", "hide", "call"]
    assert message["web_buttons"] == [
        {"id": "track", "text": "Track", "url": "https://shop.example/t/17"},
        {"id": "hide", "text": "Hide", "url": RICH.click_url},
    ]
    assert message["data"]["click_url"] == RICH.click_url


@pytest.mark.parametrize(("platform", "fields"), [("ANDROID", MOBILE | ANDROID), ("IOS", MOBILE | IOS), ("WEB", WEB)])
async def test_a_platform_gets_its_own_fields_only(
    provider: OneSignalProvider, onesignal: OneSignal, platform: str, fields: set[str]
) -> None:
    assert set(await sent(provider, onesignal, rich(platform))) == ALWAYS | fields


async def test_without_a_body_the_title_is_the_contents(provider: OneSignalProvider, onesignal: OneSignal) -> None:
    bare = OutgoingPush(
        device=Device(id=None, token=FINE), title="Hello", body="", options=PushOptions(), notification_id="ntf_1"
    )
    message = await sent(provider, onesignal, bare)
    assert message["contents"] == {"en": "Hello"}
    assert "headings" not in message


async def test_what_onesignal_would_refuse_is_left_out(provider: OneSignalProvider, onesignal: OneSignal) -> None:
    odd = push(FINE, click_url="http://shop.example/", collapse_key="ö" * 100)
    message = await sent(provider, onesignal, odd)
    assert not {"url", "collapse_id", "web_push_topic"} & set(message)
    assert message["data"]["click_url"] == "http://shop.example/"


async def test_a_repeated_attempt_is_one_push_and_another_notification_or_device_is_another(
    provider: OneSignalProvider, onesignal: OneSignal
) -> None:
    first = await provider.send(push(FINE), DEADLINE)
    again = await provider.send(push(FINE.upper()), DEADLINE)
    assert first.provider_message_id == again.provider_message_id
    for other in (push(FINE, id="ntf_2"), push(SUBSCRIPTION + "6666")):
        assert (await provider.send(other, DEADLINE)).provider_message_id != first.provider_message_id
    assert (onesignal.calls, len(onesignal.messages)) == (4, 3)


@pytest.mark.parametrize(
    ("end", "outcome", "code"),
    [
        ("dead", Outcome.PERMANENT, "not_subscribed"),
        ("d0ff", Outcome.PERMANENT, "not_subscribed"),
        ("0400", Outcome.PERMANENT, "HTTP_400"),
        ("0401", Outcome.TRANSIENT, "HTTP_401"),
        ("0403", Outcome.TRANSIENT, "HTTP_403"),
        ("0429", Outcome.TRANSIENT, "HTTP_429"),
        ("0503", Outcome.TRANSIENT, "HTTP_503"),
        ("0500", Outcome.UNKNOWN, "HTTP_500"),
        ("0200", Outcome.UNKNOWN, "no_message_id"),
    ],
)
async def test_onesignals_own_answers(provider: OneSignalProvider, end: str, outcome: Outcome, code: str) -> None:
    answer = await provider.send(push(SUBSCRIPTION + end), DEADLINE)
    assert (answer.outcome, answer.code) == (outcome, code)
    assert answer.retire_contact_point is (code == "not_subscribed")
    assert SUBSCRIPTION not in (answer.detail or "")


async def test_a_wrong_key_is_an_outage_and_stays_a_secret(onesignal: OneSignal) -> None:
    async with served(onesignal.app) as server:
        provider = OneSignalProvider(APP_ID, "another-key", url=server.url)
        answer = await provider.send(push(FINE), DEADLINE)
        await provider.close()
    assert (answer.outcome, answer.code) == (Outcome.TRANSIENT, "HTTP_403")
    assert "another-key" not in str(answer)


@pytest.mark.parametrize(
    ("app_id", "key", "url"),
    [
        ("not-a-uuid", API_KEY, None),
        (APP_ID, "", None),
        (APP_ID, "two words", None),
        (APP_ID, "line\r\nbreak", None),
        (APP_ID, API_KEY, "ftp://example.test"),
    ],
)
def test_a_provider_that_cannot_work_is_not_made(app_id: str, key: str, url: str | None) -> None:
    with pytest.raises(ConfigurationError, match="OneSignal") as caught:
        OneSignalProvider(app_id, key, url=url)
    assert not key or key not in caught.value.message
