"""The main job, on both engines: send by GraphQL, watch the status arrive, and everything that can happen between."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.e2e.api import CANCEL, CONTENT, FEED, PROGRESS, SEND, WATCH, WATCH_REQUEST, Api, SubscriptionError
from tests.e2e.conftest import Running

BATCH = SEND.replace("SendNotificationInput", "SendBatchInput").replace("send_notification(", "send_batch(")
FINAL = {"SENT", "DELIVERED", "BOUNCED", "FAILED", "SKIPPED", "CANCELLED", "EXPIRED"}


async def sandbox(running: Running) -> dict[str, Any]:
    """What the sandbox took."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.sandbox_port}") as client:
        found: dict[str, Any] = (await client.get("/sandbox/messages?limit=500")).json()
    return found


def statuses(events: list[dict[str, Any]]) -> list[str]:
    return [event["status"] for event in events]


def check_whole(events: list[dict[str, Any]]) -> None:
    """One notification's events: sequence 1..n, positions ascending, each following the one before."""
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    positions = [event["position"] for event in events]
    assert positions == sorted(set(positions))
    assert [event["previous_status"] for event in events] == [None, *statuses(events)[:-1]]


class TestSend:
    async def test_an_email_is_sent_and_its_status_streams_live(self, api: Api, running: Running) -> None:
        id = await api.send_one()
        events = await api.watch(WATCH, id=id)
        check_whole(events)
        assert events[0]["status"] == "ACCEPTED"
        assert events[-1]["status"] == "SENT"
        mails = (await sandbox(running))["emails"]
        assert [mail["subject"] for mail in mails if id in mail["message_id"]] == ["Hello"]
        (attempt,) = (await api.notification(id))["attempts"]
        assert (attempt["outcome"], attempt["provider"]) == ("ACCEPTED", "smtp")

    async def test_a_push_goes_to_the_device(self, api: Api, running: Running) -> None:
        token = "sandbox-device-of-this-test"
        id = await api.send_one(recipient={"device_token": token}, channels=["PUSH"], push={"data": {"order": "7"}})
        assert statuses(await api.watch(WATCH, id=id))[-1] == "SENT"
        pushes = [push for push in (await sandbox(running))["pushes"] if push["token"] == token]
        assert len(pushes) == 1
        assert pushes[0]["message"]["data"]["order"] == "7"

    async def test_a_user_gets_a_template_in_their_language(self, api: Api, running: Running) -> None:
        name = f"t{datetime.now(UTC).timestamp():.6f}".replace(".", "")
        user = {"id": f"usr_{name}", "email": f"{name}@example.com", "locale": "pt-BR"}
        create = "mutation($input: CreateUserInput!) { create_user(input: $input) { success message } }"
        assert (await api.payload(create, input=user))["success"]
        locales = [
            {"locale": "en", "subject": "Hello {{ name }}", "text": "Hi"},
            {"locale": "pt", "subject": "Olá {{ name }}", "html": "<p>{{ name }}</p>"},
        ]
        template = {"key": name, "default_locale": "en", "publish": True, "version": {"locales": locales}}
        make = "mutation($input: CreateTemplateInput!) { create_template(input: $input) { success message } }"
        assert (await api.payload(make, input=template))["success"]
        id = await api.send_one(recipient={"user_id": user["id"]}, template={"key": name}, variables={"name": "<Zé>"})
        found = await api.until(id, "SENT")
        assert found["template"] == {"key": name, "version": 1, "locale": "pt", "locale_fallback": ["pt-BR", "pt"]}
        (mail,) = [mail for mail in (await sandbox(running))["emails"] if id in mail["message_id"]]
        assert mail["subject"] == "Olá <Zé>"
        assert "&lt;Zé&gt;" in mail["html"]

    async def test_a_batch_of_a_thousand(self, api: Api) -> None:
        recipients = [{"recipient": {"email": f"u{n}@example.com"}, "variables": {"n": n}} for n in range(1000)]
        content = {"subject": "Number {{ n }}", "text": "{{ n }}"}
        payload = await api.payload(BATCH, input={"recipients": recipients, "content": content, "channels": ["EMAIL"]})
        assert payload["success"], payload
        request = payload["data"]["request"]
        assert (payload["data"]["accepted"], request["total"], len(payload["data"]["notifications"])) == (
            1000,
            1000,
            100,
        )
        last = (await api.watch(PROGRESS, id=request["request_id"]))[-1]
        assert (last["finished"], last["percent"]) == (True, 100.0)
        assert last["counts"] == [{"status": "SENT", "count": 1000}]
        events = await api.watch_in_pieces(WATCH_REQUEST, 700, id=request["request_id"])
        by_id: dict[str, list[dict[str, Any]]] = {}
        for event in events:
            by_id.setdefault(event["notification_id"], []).append(event)
        assert len(by_id) == 1000
        for own in by_id.values():
            check_whole(own)


class TestIdempotency:
    async def test_the_same_request_id_is_answered_the_same(self, api: Api) -> None:
        request_id = f"same-{datetime.now(UTC).timestamp()}"
        first, second = await api.send(request_id=request_id), await api.send(request_id=request_id)
        assert (first["duplicate"], second["duplicate"]) == (False, True)
        assert first["notifications"][0]["id"] == second["notifications"][0]["id"]

    async def test_another_input_conflicts(self, api: Api) -> None:
        request_id = f"other-{datetime.now(UTC).timestamp()}"
        await api.send(request_id=request_id)
        given = {"recipient": {"email": "x@example.com"}, "content": CONTENT, "request_id": request_id}
        payload = await api.payload(SEND, input=given)
        assert (payload["success"], payload["error"]["code"]) == (False, "CONFLICT")

    async def test_fifty_twins_at_once_are_one(self, api: Api, running: Running) -> None:
        request_id = f"twins-{datetime.now(UTC).timestamp()}"
        receipts = await asyncio.gather(*(api.send(request_id=request_id) for _ in range(50)))
        (id,) = {receipt["notifications"][0]["id"] for receipt in receipts}
        assert [receipt["duplicate"] for receipt in receipts].count(False) == 1
        await api.until(id, "SENT")
        assert len([mail for mail in (await sandbox(running))["emails"] if id in mail["message_id"]]) == 1


class TestStates:
    async def test_scheduled_then_cancelled(self, api: Api) -> None:
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        id = await api.send_one(send_at=later)
        payload = await api.payload(CANCEL, id=id)
        assert (payload["success"], payload["data"]["status"]) == (True, "CANCELLED")
        assert statuses(await api.watch(WATCH, id=id)) == ["SCHEDULED", "CANCELLED"]

    async def test_scheduled_is_sent_when_its_time_comes(self, api: Api) -> None:
        soon = (datetime.now(UTC) + timedelta(seconds=3)).isoformat()
        events = await api.watch(WATCH, id=await api.send_one(send_at=soon))
        assert (events[0]["status"], events[-1]["status"]) == ("SCHEDULED", "SENT")

    async def test_too_late_to_cancel_is_said(self, api: Api) -> None:
        id = await api.send_one()
        await api.until(id, "SENT")
        payload = await api.payload(CANCEL, id=id)
        assert (payload["success"], payload["error"]["code"]) == (False, "TOO_LATE")
        assert payload["data"]["status"] == "SENT"

    async def test_a_transient_failure_is_retried(self, api: Api) -> None:
        events = await api.watch(WATCH, id=await api.send_one(recipient={"email": "defer@sandbox.heliograph.test"}))
        check_whole(events)
        assert "RETRYING" in statuses(events)
        assert statuses(events)[-1] == "SENT"

    async def test_a_permanent_failure_fails_with_its_reason(self, api: Api) -> None:
        id = await api.send_one(recipient={"email": "bounce@sandbox.heliograph.test"})
        events = await api.watch(WATCH, id=id)
        assert statuses(events)[-1] == "FAILED"
        (attempt,) = (await api.notification(id))["attempts"]
        assert (attempt["outcome"], attempt["code"]) == ("PERMANENT", "5.1.1")

    async def test_attempts_used_up_fail(self, api: Api) -> None:
        id = await api.send_one(recipient={"email": "defer-always@sandbox.heliograph.test"})
        found = await api.until(id, "FAILED")
        assert [attempt["number"] for attempt in found["attempts"]] == [1, 2, 3]

    async def test_deliver_by_expires_what_is_late(self, api: Api) -> None:
        by = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
        id = await api.send_one(recipient={"email": "defer-always@sandbox.heliograph.test"}, deliver_by=by)
        assert (await api.until(id, *FINAL))["status"] in {"EXPIRED", "FAILED"}

    async def test_who_cannot_be_reached_is_skipped(self, api: Api) -> None:
        id = await api.send_one(recipient={"device_token": "sandbox-a-device"}, channels=["EMAIL"])
        events = await api.watch(WATCH, id=id)
        assert statuses(events) == ["SKIPPED"]
        assert "no email address" in events[0]["reason"]


class TestLiveStatus:
    @pytest.mark.parametrize("piece", [1, 2, 3])
    async def test_resuming_with_a_cursor_misses_nothing(self, api: Api, piece: int) -> None:
        id = await api.send_one(recipient={"email": "defer@sandbox.heliograph.test"})
        pieces = await api.watch_in_pieces(WATCH, piece, id=id)
        assert pieces == await api.watch(WATCH, id=id)
        check_whole(pieces)

    async def test_a_late_subscriber_sees_everything(self, api: Api) -> None:
        id = await api.send_one()
        await api.until(id, "SENT")
        events = await api.watch(WATCH, id=id)
        check_whole(events)
        assert statuses(events)[-1] == "SENT"

    async def test_the_feed_is_live_and_filtered(self, api: Api) -> None:
        async with api.subscribe(FEED, filter={"status": ["SENT"], "category": "feed-test"}) as events:
            first = asyncio.ensure_future(anext(events))
            id = await self._seen(api, first)
        assert (await first)["status"] == "SENT"
        assert (await api.notification(id))["status"] == "SENT"

    async def _seen(self, api: Api, first: "asyncio.Future[dict[str, Any]]") -> str:
        """Send until the feed, which is live from some moment on, has shown one."""
        while True:
            id = await api.send_one(category="feed-test")
            await asyncio.wait({first}, timeout=1.0)
            if first.done():
                return id

    async def test_the_feed_goes_on_from_a_cursor(self, api: Api) -> None:
        id = await api.send_one()
        (first, *rest) = await api.watch(WATCH, id=id)
        seen = []
        async with api.subscribe(FEED, after=first["cursor"]) as events:
            async for event in events:
                if event["notification_id"] == id:
                    seen.append(event)
                    if event["status"] == "SENT":
                        break
        assert seen == rest

    async def test_what_is_not_there_is_not_found(self, api: Api) -> None:
        with pytest.raises(SubscriptionError) as caught:
            await api.watch(WATCH, id="ntf_" + "0" * 32)
        assert caught.value.errors[0]["extensions"]["code"] == "NOT_FOUND"


class TestBadInput:
    @pytest.mark.parametrize(
        ("given", "path"),
        [
            ({"recipient": {"user_id": "usr_nobody"}}, ["recipient", "user_id"]),
            ({"recipient": {"email": "no address"}}, ["recipient", "email"]),
            ({"template": {"key": "no-such-template"}, "content": None}, ["template", "key"]),
            ({"content": {"subject": "{{ missing }}", "text": "x"}}, ["variables", "missing"]),
            ({"content": {"subject": "a\r\nBcc: x@example.com", "text": "x"}}, ["content", "subject"]),
            ({"send_at": "2001-01-01T00:00:00Z"}, ["send_at"]),
            ({"variables": "not an object"}, ["variables"]),
            ({"variables": {"a": "\u0000"}}, ["variables"]),
        ],
    )
    async def test_it_is_refused_with_the_field_named(self, api: Api, given: dict[str, Any], path: list[str]) -> None:
        request_id = f"bad-{datetime.now(UTC).timestamp()}"
        whole = {"recipient": {"email": "a@example.com"}, "content": CONTENT, "request_id": request_id, **given}
        payload = await api.payload(SEND, input=whole)
        assert (payload["success"], payload["error"]["code"]) == (False, "VALIDATION_FAILED")
        assert path in [field["path"] for field in payload["error"]["fields"]]
        stored = await api.payload(
            "query($id: String!) { request(request_id: $id) { success data { id } } }", id=request_id
        )
        assert (stored["success"], stored["data"]) == (False, None)

    async def test_a_thousand_and_one(self, api: Api) -> None:
        recipients = [{"recipient": {"email": f"u{n}@example.com"}} for n in range(1001)]
        payload = await api.payload(BATCH, input={"recipients": recipients, "content": CONTENT})
        assert payload["error"]["fields"][0]["path"] == ["recipients"]

    @pytest.mark.parametrize("recipient", [{}, {"email": "a@example.com", "user_id": "usr_x"}])
    async def test_both_or_neither(self, api: Api, recipient: dict[str, str]) -> None:
        answer = await api.call(SEND, input={"recipient": recipient, "content": CONTENT})
        (error,) = answer["errors"]
        assert error["extensions"]["code"] == "VALIDATION_FAILED"
        assert "recipient" in json.dumps(error["extensions"]["fields"])

    async def test_without_a_key_nothing_is_said(self, running: Running) -> None:
        async with Api(running.port, "hg_wrong") as stranger:
            answer = await stranger.http.post("/graphql", json={"query": "{ __typename }"})
        assert answer.status_code == 401
        assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
