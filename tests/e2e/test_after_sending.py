"""What comes back after sending, through a whole embedded system: seen live, heeded by the next send, and lifted."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from domain.ids import USER, new_id
from tests.e2e.api import WATCH, Api
from tests.e2e.conftest import Running, start_embedded
from tests.servers.roles import API_KEY
from tests.services.provider_posts import SendGrid, sendgrid_event

SENDGRID = SendGrid()
PUBLIC_URL = "https://notify.example"
SUPPRESSIONS = "{ suppressions { data { id contact_point category reason } } }"
LIFT = "mutation ($id: ID!) { lift_suppression(id: $id) { success } }"
CREATE_USER = "mutation ($input: CreateUserInput!) { create_user(input: $input) { success } }"
PREFERENCES = "query ($id: ID!) { user(id: $id) { data { preferences { channels { channel category enabled } } } } }"
ACKNOWLEDGE = """mutation ($id: ID!, $kind: Acknowledgement!) { acknowledge_notification(id: $id, kind: $kind) {
  success data { status callbacks { kind provider } } } }"""
SAID = "query ($id: ID!) { notification(id: $id) { data { status callbacks { kind permanent code reason } } } }"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`heliograph up` with SendGrid's webhook, and an address for its links."""
    more = {
        "HELIOGRAPH_SENDGRID_WEBHOOK_KEY": SENDGRID.public_key,
        "HELIOGRAPH_PUBLIC_URL": PUBLIC_URL,
        "HELIOGRAPH_TRANSACTIONAL_CATEGORIES": "receipts",
    }
    with start_embedded(tmp_path_factory.mktemp("after"), **more) as running:
        yield running


@pytest.fixture
async def api(system: Running) -> AsyncIterator[Api]:
    async with Api(system.port, API_KEY) as client:
        yield client


async def post(api: Api, *events: dict[str, Any]) -> httpx.Response:
    """What SendGrid posts."""
    body, headers = SENDGRID.post(list(events))
    return await api.http.post("/webhooks/sendgrid", content=body, headers=headers)


async def suppressed(api: Api, address: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.payload(SUPPRESSIONS))["data"]
    return [one for one in found if one["contact_point"] == address]


async def link(api: Api, id: str) -> str | None:
    """The path of the link in the mail of a notification that was sent."""
    mails = (await api.http.get("/sandbox/messages")).json()["emails"]
    (headers,) = [dict(mail["headers"]) for mail in mails if id in str(dict(mail["headers"])["Message-ID"])]
    found = re.fullmatch(rf"<{PUBLIC_URL}(/\S+)>", headers.get("List-Unsubscribe", ""))
    return None if found is None else found[1]


async def test_a_bounce_is_seen_live_and_the_next_mail_is_skipped_until_it_is_lifted(api: Api) -> None:
    address = "bounces-after@example.com"
    id = await api.send_one(recipient={"email": address})
    async with api.subscribe(WATCH, id=id, follow=True) as events:
        async for event in events:
            if event["status"] == "SENT":
                reason = f"550 5.1.1 <{address}> unknown"
                bounce = sendgrid_event("bounce", id, type="bounce", status="5.1.1", reason=reason)
                assert (await post(api, bounce, bounce)).status_code == 200
            if event["status"] == "BOUNCED":
                break
    assert (event["previous_status"], event["reason"]) == ("SENT", "550 5.1.1 <(address)> unknown")

    skipped = await api.notification(await api.send_one(recipient={"email": address}))
    assert skipped["status"] == "SKIPPED"
    assert skipped["reason"] == "Every email address of the recipient is suppressed: hard bounce (5.1.1)."

    (block,) = await suppressed(api, address)
    assert (await api.payload(LIFT, id=block["id"]))["success"]
    await api.until(await api.send_one(recipient={"email": address}), "SENT")


async def test_what_changes_no_status_is_shown_with_the_notification(api: Api) -> None:
    id = await api.send_one(recipient={"email": "reader@example.com"})
    await api.until(id, "SENT")
    delayed = sendgrid_event("deferred", id, response="450 4.2.1 later")
    assert (await post(api, delayed, sendgrid_event("delivered", id))).status_code == 200
    payload = await api.payload(ACKNOWLEDGE, id=id, kind="OPENED")
    assert payload["data"]["status"] == "DELIVERED"
    assert {"kind": "OPENED", "provider": "device"} in payload["data"]["callbacks"]
    said = (await api.payload(SAID, id=id))["data"]["callbacks"]
    assert sorted(one["kind"] for one in said) == ["DELAYED", "DELIVERED", "OPENED"]
    rest = (await api.http.get(f"/v1/notifications/{id}")).json()["data"]["callbacks"]
    assert sorted(one["kind"] for one in rest) == ["DELAYED", "DELIVERED", "OPENED"]


async def test_one_click_in_a_users_mail_ends_its_category_and_no_other(api: Api) -> None:
    user = new_id(USER)
    assert (await api.payload(CREATE_USER, input={"id": user, "email": f"{user}@example.com"}))["success"]
    id = await api.send_one(recipient={"user_id": user}, category="news")
    await api.until(id, "SENT")
    path = await link(api, id)
    assert path is not None
    assert (await api.http.get(path)).status_code == 200
    assert (await api.notification(await api.send_one(recipient={"user_id": user}, category="news")))[
        "status"
    ] != "SKIPPED"
    async with httpx.AsyncClient(base_url=api.http.base_url) as mail_program:
        answers = [await mail_program.post(path, data={"List-Unsubscribe": "One-Click"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]

    preferences = (await api.payload(PREFERENCES, id=user))["data"]["preferences"]["channels"]
    assert preferences == [{"channel": "EMAIL", "category": "news", "enabled": False}]
    skipped = await api.notification(await api.send_one(recipient={"user_id": user}, category="news"))
    assert (skipped["status"], skipped["reason"]) == ("SKIPPED", "The recipient opted out of email for 'news'.")
    await api.until(await api.send_one(recipient={"user_id": user}, category="alerts"), "SENT")


async def test_one_click_in_a_strangers_mail_suppresses_their_address_for_its_category(api: Api) -> None:
    address = "stranger@example.com"
    id = await api.send_one(recipient={"email": address}, category="news")
    await api.until(id, "SENT")
    path = await link(api, id)
    assert path is not None
    assert (await api.http.post(path)).status_code == 200
    skipped = await api.notification(await api.send_one(recipient={"email": address}, category="news"))
    expected = "Every email address of the recipient is suppressed: unsubscribed from 'news'."
    assert (skipped["status"], skipped["reason"]) == ("SKIPPED", expected)
    await api.until(await api.send_one(recipient={"email": address}, category="alerts"), "SENT")


async def test_mail_that_answers_what_somebody_did_carries_no_link(api: Api) -> None:
    plain = await api.send_one(recipient={"email": "buyer@example.com"}, category="receipts")
    urgent = await api.send_one(recipient={"email": "buyer@example.com"}, priority="CRITICAL")
    await asyncio.gather(api.until(plain, "SENT"), api.until(urgent, "SENT"))
    assert [await link(api, id) for id in (plain, urgent)] == [None, None]


async def test_what_is_forged_changes_nothing(api: Api) -> None:
    id = await api.send_one(recipient={"email": "victim@example.com"})
    await api.until(id, "SENT")
    body, headers = SendGrid().post([sendgrid_event("bounce", id, type="bounce")])
    answer = await api.http.post("/webhooks/sendgrid", content=body, headers=headers)
    assert (answer.status_code, answer.json()["success"]) == (401, False)
    assert (await api.notification(id))["status"] == "SENT"
    assert await suppressed(api, "victim@example.com") == []
