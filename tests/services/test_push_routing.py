"""Which push provider a device's token goes to, and what a push role needs to start."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from api.meters import Meters
from api.senders import Senders
from api.settings import load_settings
from api.system import System
from api.templates.client import TemplatesClient
from domain.errors import ConfigurationError
from domain.notification import Outcome
from domain.ports import PushProvider
from tests.contracts.onesignal_server import API_KEY, APP_ID
from tests.contracts.push_worlds import World, world
from tests.services.test_push_service import DEADLINE, FakeTemplates, claim
from workers.push.service import PushSender
from workers.resilience import Breaker, ProviderChain

FCM_TOKEN, SUBSCRIPTION = "a-device-token", "11111111-2222-4333-8444-555555555555"


def sender_of(*providers: PushProvider, fail_max: int = 5) -> PushSender:
    breakers = {provider.name: Breaker(provider.name, fail_max=fail_max) for provider in providers}
    return PushSender(ProviderChain(providers, breakers, clock=lambda: datetime.now(UTC)), FakeTemplates())


def taken(at: World) -> int:
    return len(at.received)


@pytest.mark.parametrize("order", [("fcm", "onesignal"), ("onesignal", "fcm")])
async def test_each_token_goes_to_its_own_provider_whatever_the_order(order: tuple[str, str]) -> None:
    async with world("fcm") as fcm, world("onesignal") as onesignal:
        made = {"fcm": fcm.make(), "onesignal": onesignal.make()}
        delivered = await sender_of(*(made[name] for name in order)).send(claim(FCM_TOKEN, SUBSCRIPTION), DEADLINE)
        assert [attempt.provider for attempt in delivered.attempts] == ["fcm", "onesignal"]
        assert {attempt.outcome for attempt in delivered.attempts} == {Outcome.ACCEPTED}
        assert (taken(fcm), taken(onesignal)) == (1, 1)
        for provider in made.values():
            await provider.close()


async def test_an_fcm_token_is_never_handed_to_onesignal_when_fcm_fails() -> None:
    async with world("fcm") as fcm, world("onesignal") as onesignal:
        providers = fcm.make(), onesignal.make()
        sender = sender_of(*providers, fail_max=1)
        failed = await sender.send(claim(fcm.token("away")), DEADLINE)
        while_open = await sender.send(claim(fcm.token("away")), DEADLINE)
        assert failed.outcome is Outcome.TRANSIENT
        assert [attempt.provider for attempt in failed.attempts] == ["fcm"]
        assert while_open.outcome is None
        assert while_open.retry_after is not None
        assert while_open.retry_after > 0
        assert taken(onesignal) == 0
        for provider in providers:
            await provider.close()


async def test_a_token_that_no_provider_knows_is_permanent_and_nobody_is_called() -> None:
    async with world("fcm") as fcm:
        provider = fcm.make()
        delivered = await sender_of(provider).send(claim(SUBSCRIPTION), DEADLINE)
        assert (delivered.outcome, delivered.code) == (Outcome.PERMANENT, "no_provider_for_token")
        assert (delivered.attempts, fcm.received) == ((), [])
        assert SUBSCRIPTION not in str(delivered)
        await provider.close()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"push_providers": "fcm"}, "HELIOGRAPH_FCM_CREDENTIALS"),
        ({"push_providers": "onesignal"}, "HELIOGRAPH_ONESIGNAL_APP_ID"),
        ({"push_providers": "onesignal", "onesignal_app_id": APP_ID}, "HELIOGRAPH_ONESIGNAL_API_KEY"),
    ],
)
async def test_missing_credentials_stop_the_start_with_one_line(given: dict[str, Any], named: str) -> None:
    builder = Senders(load_settings(**given), System(), Meters())
    with pytest.raises(ConfigurationError, match=named) as caught:
        builder.push(cast(TemplatesClient, FakeTemplates()))
    assert len(caught.value.message.splitlines()) == 1


async def test_the_providers_of_the_settings_are_made_in_their_order() -> None:
    names = "onesignal,fcm"
    given = {"onesignal_app_id": APP_ID, "onesignal_api_key": API_KEY, "fcm_url": "http://127.0.0.1:1"}
    system = System()
    sender = Senders(load_settings(push_providers=names, **given), system, Meters()).push(
        cast(TemplatesClient, FakeTemplates())
    )
    assert isinstance(sender, PushSender)
    assert [provider.name for provider in sender._chain.providers] == ["onesignal", "fcm"]
    await system.stop()
