"""A test key on a system with a real provider: its mail goes to the sandbox, everybody else's to the provider."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.api import WATCH, Api
from tests.e2e.conftest import FAST
from tests.servers.roles import API_KEY, Cluster
from workers.sandbox.mailbox import Mailbox

CREATE = """mutation ($input: CreateApiKeyInput!) { create_api_key(input: $input) {
  success message data { secret key { test } } } }"""
SHOWN = "query ($id: ID!) { notification(id: $id) { data { test timeline { detail } attempts { provider } } } }"
SCOPES = ["notifications:send", "notifications:read"]


@pytest.fixture
async def provider() -> AsyncIterator[Mailbox]:
    """The mail server that is used in earnest."""
    server = Mailbox()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def operator(provider: Mailbox, tmp_path: Path) -> AsyncIterator[Api]:
    """Everything in one process, with that provider, as somebody with all scopes."""
    own = {"HELIOGRAPH_VAR_DIR": str(tmp_path / "var"), "HELIOGRAPH_API_KEY": API_KEY}
    cluster = Cluster(tmp_path, {**own, **FAST})
    gateway = cluster.add_role("gateway", "up", HELIOGRAPH_SMTP_URL=provider.url)
    try:
        gateway.wait_ready()
        async with Api(gateway.port, API_KEY) as client:
            yield client
    finally:
        cluster.stop()


async def in_sandbox(api: Api) -> list[str]:
    """The Message-IDs of the mails that the sandbox took."""
    found: dict[str, Any] = (await api.http.get("/sandbox/messages?limit=500")).json()
    return [mail["message_id"] for mail in found["emails"]]


async def test_a_trial_reaches_nobody_and_all_else_does(operator: Api, provider: Mailbox) -> None:
    made = await operator.payload(CREATE, input={"name": "trial", "scopes": SCOPES, "test": True})
    assert made["data"]["key"]["test"] is True
    async with Api(operator.port, made["data"]["secret"]) as trial:
        tried = await trial.send_one(request_id="same")
        assert (await trial.watch(WATCH, id=tried))[-1]["status"] == "SENT"
        pushed = await trial.send_one(recipient={"device_token": "token-of-a-trial"}, channels=["PUSH"])
        assert (await trial.watch(WATCH, id=pushed))[-1]["status"] == "SENT"
    meant = await operator.send_one(request_id="same")
    assert (await operator.watch(WATCH, id=meant))[-1]["status"] == "SENT"

    (sandboxed,) = await in_sandbox(operator)
    assert tried in sandboxed
    (sent,) = provider.messages()
    assert meant in sent.message_id
    for id, test, name in ((tried, True, "sandbox"), (pushed, True, "sandbox"), (meant, False, "smtp")):
        shown = (await operator.payload(SHOWN, id=id))["data"]
        assert shown["test"] is test
        assert (shown["timeline"][0]["detail"] or {}).get("test", False) is test
        assert [attempt["provider"] for attempt in shown["attempts"]] == [name]
