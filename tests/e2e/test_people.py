"""Users, their wishes, and who may do what, on both engines and through every process that has a say in it."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from domain.ids import USER, new_id
from tests.e2e.api import FEED, NOTIFICATION, SEND, TIMES, WATCH, Api
from tests.e2e.conftest import JWT_SECRET, Running

CREATE_USER = "mutation ($input: CreateUserInput!) { create_user(input: $input) { success message } }"
DELETE_USER = "mutation ($id: ID!) { delete_user(id: $id) { success message } }"
SET_PREFERENCES = """mutation ($id: ID!, $input: PreferencesInput!) { set_preferences(user_id: $id, input: $input) {
  success error { code ... on ValidationError { fields { path code } } }
  data { preferences { channels { channel category enabled } quiet_hours { from to } } } } }"""
REGISTER = """mutation ($id: ID!, $input: RegisterDeviceInput!) {
  register_device(user_id: $id, input: $input) { success data { id token_hint } } }"""
SUPPRESS = "mutation ($input: SuppressionInput!) { add_suppression(input: $input) { success data { id } } }"
LIFT = "mutation ($id: ID!) { lift_suppression(id: $id) { success } }"
CREATE_KEY = """mutation ($input: CreateApiKeyInput!) { create_api_key(input: $input) {
  success error { code ... on ValidationError { fields { path code } } } data { secret key { id } } } }"""
REVOKE_KEY = "mutation ($id: ID!) { revoke_api_key(id: $id) { success } }"
CREATE_TEMPLATE = "mutation ($input: CreateTemplateInput!) { create_template(input: $input) { success message } }"
PREVIEW = """query ($input: PreviewTemplateInput!) { preview_template(input: $input) {
  success data { locale locale_fallback subject html text } } }"""


async def person(api: Api, **more: Any) -> str:
    """A new user with an address; their id."""
    id = new_id(USER)
    payload = await api.payload(CREATE_USER, input={"id": id, "email": f"{id}@example.com", "name": "Ada", **more})
    assert payload["success"], payload
    return id


async def prefer(api: Api, user: str, **changes: Any) -> dict[str, Any]:
    """Set preferences; what they are then."""
    payload = await api.payload(SET_PREFERENCES, id=user, input=changes)
    assert payload["success"], payload
    preferences: dict[str, Any] = payload["data"]["preferences"]
    return preferences


def opt_out(category: str | None) -> list[dict[str, Any]]:
    """No email for this category; None: no email at all."""
    return [{"channel": "EMAIL", "category": category, "enabled": False}]


def quiet_now() -> dict[str, str]:
    """Quiet hours in UTC that began a while ago and last for a while."""
    now = datetime.now(UTC)
    return {"from": f"{now - timedelta(hours=2):%H:%M}", "to": f"{now + timedelta(hours=2):%H:%M}"}


def token(user: str, seconds: float = 60.0) -> str:
    """What an end user comes with."""
    return jwt.encode({"sub": user, "exp": time.time() + seconds}, JWT_SECRET, algorithm="HS256")


async def mails_to(running: Running, user: str) -> list[dict[str, Any]]:
    """What the sandbox took for a user."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.sandbox_port}") as client:
        found = (await client.get("/sandbox/messages?limit=500")).json()["emails"]
    return [mail for mail in found if user in json.dumps(mail)]


class TestPreferences:
    async def test_who_opted_out_is_skipped_with_a_sentence_when_accepting(self, api: Api) -> None:
        user = await person(api)
        await prefer(api, user, channels=opt_out("marketing"))
        receipt = await api.send(recipient={"user_id": user}, category="marketing")
        assert (receipt["accepted"], receipt["notifications"][0]["status"]) == (0, "SKIPPED")
        found = await api.notification(receipt["notifications"][0]["id"])
        assert found["reason"] == "The recipient opted out of email for 'marketing'."
        sent = await api.send_one(recipient={"user_id": user}, category="billing")
        assert (await api.until(sent, "SENT", "SKIPPED"))["status"] == "SENT"

    async def test_who_opts_out_later_is_skipped_when_delivering(self, api: Api, running: Running) -> None:
        user = await person(api)
        send_at = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
        id = await api.send_one(recipient={"user_id": user}, send_at=send_at)
        assert (await api.notification(id))["status"] == "SCHEDULED"
        await prefer(api, user, channels=opt_out(None))
        found = await api.until(id, "SENT", "SKIPPED")
        assert (found["status"], found["reason"]) == ("SKIPPED", "The recipient opted out of email.")
        assert found["attempts"] == []
        assert await mails_to(running, user) == []

    async def test_quiet_hours_hold_and_critical_passes(self, api: Api) -> None:
        user = await person(api)
        quiet = quiet_now()
        assert (await prefer(api, user, quiet_hours=quiet))["quiet_hours"] == quiet
        held = await api.send(recipient={"user_id": user})
        assert (held["accepted"], held["notifications"][0]["status"]) == (1, "SCHEDULED")
        found = await api.notification(held["notifications"][0]["id"])
        assert found["reason"] == f"The recipient's quiet hours last until {quiet['to']} (UTC)."
        critical = await api.send_one(recipient={"user_id": user}, priority="CRITICAL")
        assert (await api.until(critical, "SENT", "SCHEDULED"))["status"] == "SENT"
        assert (await prefer(api, user, quiet_hours=None))["quiet_hours"] is None

    async def test_quiet_hours_that_begin_later_hold_when_delivering(self, api: Api) -> None:
        user = await person(api)
        send_at = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
        id = await api.send_one(recipient={"user_id": user}, send_at=send_at)
        await prefer(api, user, quiet_hours=quiet_now())
        async with asyncio.timeout(30), api.subscribe(WATCH, id=id) as events:
            seen: list[dict[str, Any]] = []
            while len(seen) < 2 or seen[-1]["status"] != "SCHEDULED":
                seen.append(await anext(events))
        assert "quiet hours" in seen[-1]["reason"]
        assert (await api.notification(id))["attempts"] == []

    async def test_a_suppressed_address_is_skipped_until_it_is_lifted(self, api: Api) -> None:
        user = await person(api)
        block = {"channel": "EMAIL", "contact_point": f"{user.upper()}@example.com", "reason": "hard bounce"}
        suppression = (await api.payload(SUPPRESS, input=block))["data"]["id"]
        id = await api.send_one(recipient={"user_id": user}, priority="CRITICAL")
        found = await api.notification(id)
        assert (found["status"], "hard bounce" in found["reason"]) == ("SKIPPED", True)
        assert (await api.payload(LIFT, id=suppression))["success"]
        assert (await api.until(await api.send_one(recipient={"user_id": user}), "SENT", "SKIPPED"))["status"] == "SENT"

    async def test_quiet_hours_equal_at_both_ends_are_refused(self, api: Api) -> None:
        user = await person(api)
        bad = {"quiet_hours": {"from": "22:00", "to": "22:00"}}
        payload = await api.payload(SET_PREFERENCES, id=user, input=bad)
        assert payload["error"]["fields"] == [{"path": ["quiet_hours", "to"], "code": "equal"}]


class TestErasure:
    async def test_an_erased_user_is_nowhere_but_as_an_id(self, api: Api) -> None:
        user = await person(api)
        past = await api.send_one(recipient={"user_id": user}, content={"subject": "For Ada", "text": "Secret"})
        await api.until(past, "SENT")
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        planned = await api.send_one(recipient={"user_id": user}, send_at=later)
        assert (await api.payload(DELETE_USER, id=user))["success"]
        cancelled = await api.until(planned, "CANCELLED")
        assert cancelled["reason"] == "The user was erased."
        async with asyncio.timeout(20):
            while (await api.notification(past))["recipient"]["email"] is not None:  # noqa: ASYNC110 - it is elsewhere
                await asyncio.sleep(0.05)
        kept = await api.notification(past)
        assert (kept["status"], kept["recipient"]["user_id"]) == ("SENT", user)
        assert [event["status"] for event in kept["timeline"]][-1] == "SENT"
        gone = await api.payload(SEND, input={"recipient": {"user_id": user}, "content": {"subject": "a", "text": "b"}})
        assert gone["error"]["fields"][0]["path"] == ["recipient", "user_id"]


class TestEndUsers:
    async def test_they_see_and_set_what_is_theirs_and_nothing_else(self, api: Api, running: Running) -> None:
        me, other = await person(api), await person(api)
        mine, theirs = [await api.send_one(recipient={"user_id": user}) for user in (me, other)]
        async with Api(running.port, token(me)) as end_user:
            assert (await end_user.notification(mine))["id"] == mine
            assert (await end_user.payload(NOTIFICATION, id=theirs))["error"]["code"] == "NOT_FOUND"
            assert (await prefer(end_user, me, channels=opt_out("marketing")))["channels"] == opt_out("marketing")
            refused = await end_user.payload(SET_PREFERENCES, id=other, input={"channels": []})
            assert refused["error"]["code"] == "FORBIDDEN"
            device = {"platform": "WEB", "token": f"token-of-{me}"}
            assert (await end_user.payload(REGISTER, id=me, input=device))["success"]
            assert (await end_user.watch(WATCH, id=mine))[-1]["status"] == "SENT"
            refused = await end_user.payload(SEND, input={"recipient": {"user_id": me}, "content": {"title": "x"}})
            assert refused["error"]["code"] == "FORBIDDEN"

    async def test_their_feed_tells_only_of_them(self, api: Api, running: Running) -> None:
        me, other = await person(api), await person(api)
        async with Api(running.port, token(me)) as end_user, end_user.subscribe(FEED) as events:
            await api.until(await api.send_one(recipient={"user_id": other}), "SENT")
            mine = await api.send_one(recipient={"user_id": me})
            assert (await anext(events))["notification_id"] == mine

    async def test_a_token_that_expires_closes_the_socket_with_4403(self, api: Api, running: Running) -> None:
        me = await person(api)
        headers = {"Authorization": f"Bearer {token(me, 3.0)}"}
        url, protocol = f"ws://127.0.0.1:{running.port}/graphql", Subprotocol("graphql-transport-ws")
        async with connect(url, subprotocols=[protocol], additional_headers=headers, **TIMES) as socket:
            await socket.send(json.dumps({"type": "connection_init"}))
            assert json.loads(await socket.recv())["type"] == "connection_ack"
            payload = {"query": "subscription { status_feed { sequence } }"}
            await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
            async with asyncio.timeout(20):
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
            assert socket.close_code == 4403

    @pytest.mark.parametrize("bad", ["expired", "another secret"])
    async def test_a_bad_token_is_401(self, running: Running, bad: str) -> None:
        claims = {"sub": "usr_x", "exp": time.time() + (-60 if bad == "expired" else 60)}
        secret = JWT_SECRET if bad == "expired" else "e" * 31 + "f"
        async with Api(running.port, jwt.encode(claims, secret, algorithm="HS256")) as end_user:
            answer = await end_user.http.post("/graphql", json={"query": "{ __typename }"})
        assert answer.status_code == 401


class TestKeys:
    async def test_a_key_does_what_its_scopes_say_until_it_is_revoked(self, api: Api, running: Running) -> None:
        wanted = {"name": "sender", "scopes": ["notifications:send", "notifications:read"]}
        made = (await api.payload(CREATE_KEY, input=wanted))["data"]
        async with Api(running.port, made["secret"]) as sender:
            await sender.until(await sender.send_one(), "SENT")
            refused = await sender.payload(CREATE_USER.replace("message", "error { code }"), input={})
            assert refused["error"]["code"] == "FORBIDDEN"
            assert (await api.payload(REVOKE_KEY, id=made["key"]["id"]))["success"]
            assert (await sender.http.post("/graphql", json={"query": "{ __typename }"})).status_code == 401

    async def test_an_unknown_scope_is_named(self, api: Api) -> None:
        payload = await api.payload(CREATE_KEY, input={"name": "x", "scopes": ["users:read", "root"]})
        assert payload["error"]["fields"] == [{"path": ["scopes", "1"], "code": "unknown"}]


async def test_a_preview_is_what_is_sent(api: Api, running: Running) -> None:
    user, key = await person(api, locale="pt-BR"), new_id("tpl").replace("_", "-")
    locales = [
        {"locale": "en", "subject": "Hi {{ name }}", "text": "Hi"},
        {"locale": "pt", "subject": "Olá {{ name }}", "html": "<p>Para <b>{{ name }}</b></p>"},
    ]
    template = {"key": key, "default_locale": "en", "publish": True, "version": {"locales": locales}}
    assert (await api.payload(CREATE_TEMPLATE, input=template))["success"]
    asked = {"template": {"key": key, "locale": "pt-BR"}, "variables": {"name": "<Zé>"}, "channel": "EMAIL"}
    preview = (await api.payload(PREVIEW, input=asked))["data"]
    assert (preview["locale"], preview["locale_fallback"]) == ("pt", ["pt-BR", "pt"])
    sent = await api.send_one(recipient={"user_id": user}, template={"key": key}, variables={"name": "<Zé>"})
    await api.until(sent, "SENT")
    (mail,) = await mails_to(running, user)
    assert (mail["subject"], mail["html"].strip()) == (preview["subject"], preview["html"])
    assert mail["text"].strip() == preview["text"].strip()
