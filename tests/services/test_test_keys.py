"""Test keys: what they send is marked, goes to the sandbox and nowhere else, and touches nothing that is live."""

from typing import Any

import pytest

from domain.notification import Outcome
from domain.outgoing import Delivered
from domain.ports import Claim
from tests.services.gateway_fakes import KEY, SEND, TESTER, Gateway
from tests.services.test_email_service import claim
from workers.sandbox.apart import Apart

INPUT = {"recipient": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}, "request_id": "r-1"}
SHOWN = "query ($id: ID!) { notification(id: $id) { data { test timeline { sequence } } } }"
CANCEL = "mutation ($id: ID!) { cancel_notification(id: $id) { success error { code message } } }"


async def sent(gateway: Gateway, key: str) -> Any:
    """The payload of the same submission by this key."""
    return (await gateway.ask(SEND, {"input": INPUT}, key=key))["send_notification"]


@pytest.mark.parametrize(("key", "test"), [(TESTER, True), (KEY, False)])
async def test_what_a_test_key_sends_says_so(gateway: Gateway, key: str, test: bool) -> None:
    id = (await sent(gateway, key))["data"]["notifications"][0]["id"]
    assert (await gateway.ask(SHOWN, {"id": id}))["notification"]["data"]["test"] is test
    ((order, _),) = gateway.store.orders.values()
    assert (order.test, order.drafts[0].detail.get("test", False)) == (test, test)


async def test_a_trial_is_no_duplicate_of_the_real_thing(gateway: Gateway) -> None:
    trial, real = await sent(gateway, TESTER), await sent(gateway, KEY)
    assert [payload["data"]["duplicate"] for payload in (trial, real)] == [False, False]
    (tried, _), (meant, _) = gateway.store.orders.values()
    assert tried.fingerprint != meant.fingerprint


async def test_without_a_sandbox_nothing_of_a_test_key_is_accepted() -> None:
    gateway = Gateway(sandbox=False)
    refused = await sent(gateway, TESTER)
    assert (refused["success"], refused["error"]["code"]) == (False, "FORBIDDEN")
    assert "HELIOGRAPH_SANDBOX_SMTP_URL" in refused["error"]["message"]
    assert gateway.store.orders == {}
    assert (await sent(gateway, KEY))["success"]


async def test_a_test_key_cancels_only_what_test_keys_have_sent(gateway: Gateway) -> None:
    live = (await sent(gateway, KEY))["data"]["notifications"][0]["id"]
    refused = (await gateway.ask(CANCEL, {"id": live}, key=TESTER))["cancel_notification"]
    assert (refused["success"], refused["error"]["code"]) == (False, "FORBIDDEN")
    trial = (await sent(gateway, TESTER))["data"]["notifications"][0]["id"]
    assert (await gateway.ask(CANCEL, {"id": trial}, key=TESTER))["cancel_notification"]["success"]


class Recorder:
    """A `Sender` that notes what it was given."""

    def __init__(self) -> None:
        self.got: list[Claim] = []

    async def send(self, claim: Claim, deadline: float) -> Delivered:
        self.got.append(claim)
        return Delivered(outcome=Outcome.ACCEPTED)


@pytest.mark.parametrize("test", [True, False])
async def test_a_worker_sends_tests_to_the_sandbox_and_all_else_for_real(test: bool) -> None:
    live, sandbox = Recorder(), Recorder()
    await Apart(live, sandbox).send(claim(test=test), 1.0)
    assert (len(live.got), len(sandbox.got)) == ((0, 1) if test else (1, 0))


async def test_a_worker_without_a_sandbox_sends_a_test_nowhere() -> None:
    live = Recorder()
    delivered = await Apart(live, None).send(claim(test=True), 1.0)
    assert (delivered.outcome, delivered.code, live.got) == (Outcome.PERMANENT, "no_sandbox", [])
