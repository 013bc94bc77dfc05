"""Acknowledging by GraphQL, and what was said after sending as it is shown. Who may: `test_access.py`."""

from typing import Any

import pytest

from domain.callbacks import DEVICE, Acknowledgement, Callback, CallbackKind
from domain.notification import Status
from tests.services.gateway_fakes import Gateway
from tests.services.service_fakes import NOON

FIELDS = "success message error { code } data { status callbacks { kind provider permanent code reason occurred_at } }"
DEFAULT = f"mutation ($id: ID!) {{ acknowledge_notification(id: $id) {{ {FIELDS} }} }}"
OF_KIND = (
    f"mutation ($id: ID!, $kind: Acknowledgement!) {{ acknowledge_notification(id: $id, kind: $kind) {{ {FIELDS} }} }}"
)


async def sent(gateway: Gateway) -> str:
    id: str = (await gateway.send())["data"]["notifications"][0]["id"]
    gateway.store.change(id, Status.SENT)
    return id


async def acknowledge(gateway: Gateway, document: str, **variables: Any) -> dict[str, Any]:
    payload: dict[str, Any] = (await gateway.ask(document, variables))["acknowledge_notification"]
    return payload


def test_each_is_something_that_can_be_said() -> None:
    assert {str(kind) for kind in Acknowledgement} <= {str(kind) for kind in CallbackKind}


async def test_without_a_kind_it_arrived(gateway: Gateway) -> None:
    payload = await acknowledge(gateway, DEFAULT, id=await sent(gateway))
    assert (payload["success"], payload["message"], payload["data"]["status"]) == (True, "Noted.", "DELIVERED")


@pytest.mark.parametrize("kind", ["OPENED", "CLICKED"])
async def test_what_was_done_with_it_is_kept_and_its_status_stays(gateway: Gateway, kind: str) -> None:
    data = (await acknowledge(gateway, OF_KIND, id=await sent(gateway), kind=kind))["data"]
    assert data["status"] == "SENT"
    assert [(one["kind"], one["provider"]) for one in data["callbacks"]] == [(kind, DEVICE)]


async def test_a_bounce_cannot_be_acknowledged(gateway: Gateway) -> None:
    answer = (await gateway.post(OF_KIND, {"id": await sent(gateway), "kind": "BOUNCED"})).json()
    assert answer.get("data") is None
    assert gateway.store.batches == []


@pytest.mark.parametrize("id", [f"ntf_{0:032x}", "nothing", ""])
async def test_what_does_not_exist_is_not_found(gateway: Gateway, id: str) -> None:
    payload = await acknowledge(gateway, DEFAULT, id=id)
    assert (payload["success"], payload["error"], payload["data"]) == (False, {"code": "NOT_FOUND"}, None)
    assert gateway.store.batches == []


async def test_callbacks_of_many_notifications_are_one_look_up(gateway: Gateway) -> None:
    ids = [await sent(gateway) for _ in range(3)]
    bounce = Callback(
        notification_id=ids[1],
        kind=CallbackKind.BOUNCED,
        occurred_at=NOON,
        provider="smtp",
        permanent=True,
        code="5.1.1",
        reason="No such user.",
    )
    await gateway.store.record([bounce])
    gateway.store.reads.clear()
    query = "{ notifications { data { id callbacks { kind permanent code reason } } } }"
    found = (await gateway.ask(query))["notifications"]["data"]
    said = {one["id"]: one["callbacks"] for one in found}
    shown = {"kind": "BOUNCED", "permanent": True, "code": "5.1.1", "reason": "No such user."}
    assert said == {ids[0]: [], ids[1]: [shown], ids[2]: []}
    assert gateway.store.reads.count("callbacks") == 1
