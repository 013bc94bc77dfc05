"""The system in figures through GraphQL: asked for once, and watched."""

from datetime import timedelta

import msgspec
import pytest

from api.gateway.figures import (
    InstanceFigures,
    ProviderFigures,
    QueueFigures,
    ServiceFigures,
    SystemFigures,
)
from domain.notification import Channel
from tests.services.gateway_fakes import READER, Gateway
from tests.services.service_fakes import NOON
from tests.services.socket_client import opened

FIELDS = """{ queues { name depth consumers waiting publish_rate deliver_rate lag_seconds }
  providers { name channel breaker success_rate p95_ms }
  services { name status instances { id url version started_at last_seen_at status } } }"""
SYSTEM = f"{{ system {{ success message error {{ code }} data {FIELDS} }} }}"
STATUS = f"subscription ($every: Int!) {{ system_status(interval_ms: $every) {FIELDS} }}"
FIGURES = SystemFigures(
    queues=[
        QueueFigures(
            name="email.queue",
            depth=3,
            consumers=2,
            waiting=40,
            publish_rate=1.5,
            deliver_rate=1.25,
            lag_seconds=0.75,
        )
    ],
    providers=[
        ProviderFigures(name="smtp", channel=Channel.EMAIL, breaker="OPEN", success_rate=0.5, p95_ms=12.5),
        ProviderFigures(name="fcm", channel=Channel.PUSH, breaker="CLOSED", success_rate=None, p95_ms=None),
    ],
    services=[
        ServiceFigures(
            name="email",
            status="degraded",
            instances=[
                InstanceFigures(
                    id="ins_1",
                    url="http://email:8000",
                    version="1.2.3",
                    started_at=NOON,
                    last_seen_at=NOON + timedelta(seconds=9),
                    status="silent",
                )
            ],
        )
    ],
)
SHOWN = {
    "queues": [
        {
            "name": "email.queue",
            "depth": 3,
            "consumers": 2,
            "waiting": 40,
            "publish_rate": 1.5,
            "deliver_rate": 1.25,
            "lag_seconds": 0.75,
        }
    ],
    "providers": [
        {"name": "smtp", "channel": "EMAIL", "breaker": "OPEN", "success_rate": 0.5, "p95_ms": 12.5},
        {"name": "fcm", "channel": "PUSH", "breaker": "CLOSED", "success_rate": None, "p95_ms": None},
    ],
    "services": [
        {
            "name": "email",
            "status": "degraded",
            "instances": [
                {
                    "id": "ins_1",
                    "url": "http://email:8000",
                    "version": "1.2.3",
                    "started_at": NOON.isoformat().replace("+00:00", "Z"),
                    "last_seen_at": (NOON + timedelta(seconds=9)).isoformat().replace("+00:00", "Z"),
                    "status": "silent",
                }
            ],
        }
    ],
}


async def test_the_figures_are_shown_whole(gateway: Gateway) -> None:
    gateway.figures.told = FIGURES
    payload = (await gateway.ask(SYSTEM))["system"]
    assert payload == {"success": True, "message": "OK", "error": None, "data": SHOWN}


async def test_they_are_for_operators_only(gateway: Gateway) -> None:
    payload = (await gateway.ask(SYSTEM, key=READER))["system"]
    assert (payload["success"], payload["data"], payload["error"]["code"]) == (False, None, "FORBIDDEN")


async def test_they_are_watched_as_they_change(gateway: Gateway, address: str) -> None:
    gateway.figures.told = FIGURES
    async with opened(f"ws://{address}/graphql") as socket:
        await socket.greet()
        await socket.subscribe(STATUS, every=250)
        assert (await socket.hear())["payload"] == {"data": {"system_status": SHOWN}}
        gateway.figures.told = msgspec.structs.replace(FIGURES, queues=[])
        while (shown := (await socket.hear())["payload"]["data"]["system_status"])["queues"]:
            pass
        assert shown == {**SHOWN, "queues": []}


@pytest.mark.parametrize("every", [0, 249, 60_001])
async def test_an_interval_that_cannot_be_is_refused(gateway: Gateway, address: str, every: int) -> None:
    async with opened(f"ws://{address}/graphql") as socket:
        await socket.greet()
        await socket.subscribe(STATUS, every=every)
        message = await socket.hear()
    (error,) = message["payload"]["errors"] if message["type"] == "next" else message["payload"]
    assert error["extensions"]["code"] == "VALIDATION_FAILED"


async def test_watching_is_for_operators_only(gateway: Gateway, address: str) -> None:
    async with opened(f"ws://{address}/graphql") as socket:
        await socket.greet(READER)
        await socket.subscribe(STATUS, every=1000)
        message = await socket.hear()
    (error,) = message["payload"]["errors"] if message["type"] == "next" else message["payload"]
    assert error["extensions"]["code"] == "FORBIDDEN"
