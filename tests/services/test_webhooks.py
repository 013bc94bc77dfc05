"""Providers' webhooks over real HTTP: what is recorded, and what is refused without changing anything."""

import json
import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.gateway.webhook_mailgun import MailgunWebhook
from api.gateway.webhook_onesignal import OneSignalWebhook
from api.gateway.webhook_sendgrid import SendGridWebhook
from api.gateway.webhooks import MAX_BODY, Webhook
from api.server import Server
from domain.callbacks import Callback, CallbackKind
from domain.errors import ConfigurationError, DatabaseUnavailable
from domain.ids import NOTIFICATION, new_id
from tests.services.gateway_fakes import Gateway, running_gateway
from tests.services.provider_posts import (
    MAILGUN_KEY,
    ONESIGNAL_SECRET,
    Posted,
    SendGrid,
    mailgun,
    onesignal,
    sendgrid_event,
)

SENDGRID = SendGrid()
SKEW = 300.0
ID = new_id(NOTIFICATION)
AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PAGE = Path(__file__).parents[2] / "docs" / "callbacks.md"
K = CallbackKind


class Provider:
    """Whoever posts to a gateway."""

    def __init__(self, gateway: Gateway, http: httpx.AsyncClient) -> None:
        self.gateway, self._http = gateway, http

    @property
    def heard(self) -> list[list[Callback]]:
        """What was recorded, one list a request."""
        return self.gateway.store.batches

    async def post(self, name: str, posted: Posted) -> httpx.Response:
        body, headers = posted
        return await self._http.post(f"/webhooks/{name}", content=body, headers=headers)


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Provider]:
    webhooks: dict[str, Webhook] = {
        "sendgrid": SendGridWebhook(SENDGRID.public_key, SKEW),
        "mailgun": MailgunWebhook(MAILGUN_KEY, SKEW),
        "onesignal": OneSignalWebhook(ONESIGNAL_SECRET),
    }
    async with running_gateway(webhooks=webhooks) as gateway:
        server = Server(gateway.app, "127.0.0.1", 0)
        await server.start()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
            yield Provider(gateway, http)
        await server.stop()


@pytest.fixture
def provider(served: Provider) -> Provider:
    served.heard.clear()
    served.gateway.store.failing = None
    return served


def only(provider: Provider) -> Callback:
    ((callback,),) = provider.heard
    return callback


SENDGRID_EVENTS: list[tuple[dict[str, Any], K, bool]] = [
    ({"event": "delivered", "response": "250 OK"}, K.DELIVERED, False),
    ({"event": "bounce", "type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 no such user"}, K.BOUNCED, True),
    ({"event": "bounce", "type": "blocked", "status": "5.7.1", "reason": "550 blocked"}, K.BOUNCED, False),
    ({"event": "bounce", "type": "bounce", "status": "4.2.2", "reason": "452 full"}, K.BOUNCED, False),
    ({"event": "dropped", "reason": "Bounced Address", "status": "5.0.0"}, K.BOUNCED, True),
    ({"event": "dropped", "reason": "Spam Content"}, K.BOUNCED, False),
    ({"event": "deferred", "response": "450 try later", "attempt": "2"}, K.DELAYED, False),
    ({"event": "spamreport"}, K.COMPLAINED, False),
    ({"event": "open", "useragent": "Mozilla/5.0", "ip": "192.0.2.1"}, K.OPENED, False),
    ({"event": "click", "url": "https://example.com/", "url_offset": {"index": 0}}, K.CLICKED, False),
    ({"event": "unsubscribe"}, K.UNSUBSCRIBED, False),
    ({"event": "group_unsubscribe", "asm_group_id": 1}, K.UNSUBSCRIBED, False),
]
MAILGUN_EVENTS: list[tuple[dict[str, Any], K, bool]] = [
    ({"event": "delivered", "delivery-status": {"code": 250, "message": "OK"}}, K.DELIVERED, False),
    (
        {
            "event": "failed",
            "severity": "permanent",
            "reason": "bounce",
            "delivery-status": {
                "code": 550,
                "enhanced-code": "5.1.1",
                "message": "no such user",
                "bounce-type": "hard",
            },
        },
        K.BOUNCED,
        True,
    ),
    ({"event": "failed", "severity": "permanent", "reason": "suppress-bounce"}, K.BOUNCED, True),
    (
        {
            "event": "failed",
            "severity": "permanent",
            "reason": "bounce",
            "delivery-status": {"code": 552, "bounce-type": "soft"},
        },
        K.BOUNCED,
        False,
    ),
    ({"event": "failed", "severity": "permanent", "reason": "old"}, K.BOUNCED, False),
    ({"event": "failed", "severity": "temporary", "reason": "generic"}, K.DELAYED, False),
    ({"event": "rejected"}, K.BOUNCED, False),
    ({"event": "complained"}, K.COMPLAINED, False),
    ({"event": "opened", "geolocation": {"country": "SE"}}, K.OPENED, False),
    ({"event": "clicked", "url": "https://example.com/"}, K.CLICKED, False),
    ({"event": "unsubscribed"}, K.UNSUBSCRIBED, False),
]
ONESIGNAL_EVENTS = [
    ("message.push.received", K.DELIVERED),
    ("message.push.clicked", K.CLICKED),
    ("message.push.failed", K.BOUNCED),
]


class TestWhatIsTranslated:
    @pytest.mark.parametrize(("event", "kind", "permanent"), SENDGRID_EVENTS)
    async def test_sendgrid(self, provider: Provider, event: dict[str, Any], kind: K, permanent: bool) -> None:
        more = {name: value for name, value in event.items() if name != "event"}
        answer = await provider.post("sendgrid", SENDGRID.post([sendgrid_event(event["event"], ID, **more)]))
        assert (answer.status_code, answer.json()["data"]) == (200, {"events": 1})
        said = only(provider)
        assert (said.notification_id, said.kind, said.permanent) == (ID, kind, permanent)
        assert (said.occurred_at, said.provider, said.code) == (AT, "sendgrid", event.get("status"))
        assert said.reason == event.get("reason", event.get("response"))

    @pytest.mark.parametrize(("event", "kind", "permanent"), MAILGUN_EVENTS)
    async def test_mailgun(self, provider: Provider, event: dict[str, Any], kind: K, permanent: bool) -> None:
        more = {name: value for name, value in event.items() if name != "event"}
        answer = await provider.post("mailgun", mailgun(event["event"], ID, **more))
        assert answer.status_code == 200
        said = only(provider)
        assert (said.notification_id, said.kind, said.permanent) == (ID, kind, permanent)
        assert (said.provider, said.occurred_at.replace(microsecond=0)) == ("mailgun", AT)
        status = event.get("delivery-status", {})
        assert said.code == (status.get("enhanced-code") or (str(status["code"]) if status else None))

    @pytest.mark.parametrize(("kind", "expected"), ONESIGNAL_EVENTS)
    async def test_onesignal(self, provider: Provider, kind: str, expected: K) -> None:
        assert (await provider.post("onesignal", onesignal(kind, ID))).status_code == 200
        said = only(provider)
        assert (said.notification_id, said.kind, said.permanent, said.occurred_at) == (ID, expected, False, AT)

    async def test_the_body_that_the_page_shows_for_onesignal_is_one(self, provider: Provider) -> None:
        (body,) = re.findall(r"^```json\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
        filled = {
            "event.kind": "message.push.clicked",
            "event.timestamp": "1772366400",
            "message.id": "m",
            "message.data.notification_id": ID,
        }
        for name, value in filled.items():
            body = body.replace(f"{{{{ {name} }}}}", value)
        _, headers = onesignal("", ID)
        assert (await provider.post("onesignal", (body.encode(), headers))).status_code == 200
        assert (only(provider).notification_id, only(provider).kind) == (ID, K.CLICKED)

    async def test_what_is_not_ours_and_what_means_nothing_to_us_is_passed_over(self, provider: Provider) -> None:
        events = [
            sendgrid_event("processed", ID),
            sendgrid_event("delivered", "somebody else's"),
            {"event": "delivered", "timestamp": 1, "notification_id": 7},
            {"event": "account_status_change", "timestamp": 1},
        ]
        assert (await provider.post("sendgrid", SENDGRID.post(events))).json()["data"] == {"events": 0}
        assert (await provider.post("mailgun", mailgun("accepted", ID))).json()["data"] == {"events": 0}
        assert (await provider.post("onesignal", onesignal("message.push.sent", ID))).json()["data"] == {"events": 0}
        assert provider.heard == [[], [], []]

    async def test_a_thousand_events_are_one_record_and_more_are_refused(self, provider: Provider) -> None:
        events = [sendgrid_event("open", ID)] * 1_000
        assert (await provider.post("sendgrid", SENDGRID.post(events))).status_code == 200
        assert [len(batch) for batch in provider.heard] == [1_000]
        assert (await provider.post("sendgrid", SENDGRID.post([*events, events[0]]))).status_code == 413
        assert len(provider.heard) == 1


def _refusals() -> dict[str, tuple[str, Posted, int]]:
    events = [sendgrid_event("delivered", ID)]
    body, headers = SENDGRID.post(events)
    other = dict(zip(headers, ["MEUCIQ==", headers["X-Twilio-Email-Event-Webhook-Timestamp"]], strict=True))
    now = time.time()
    forged, _ = mailgun("delivered", ID)
    altered = json.loads(forged)
    altered["signature"]["token"] = "u" * 50
    later = {**headers, "X-Twilio-Email-Event-Webhook-Timestamp": str(int(now) + 1)}
    return {
        "sendgrid: another body": ("sendgrid", (body + b" ", headers), 401),
        "sendgrid: another key": ("sendgrid", SendGrid().post(events), 401),
        "sendgrid: another timestamp": ("sendgrid", (body, later), 401),
        "sendgrid: half a signature": ("sendgrid", (body, other), 401),
        "sendgrid: no signature": ("sendgrid", (body, {}), 401),
        "sendgrid: a timestamp that is none": (
            "sendgrid",
            (body, {**headers, "X-Twilio-Email-Event-Webhook-Timestamp": "-1e9"}),
            401,
        ),
        "sendgrid: too old": ("sendgrid", SENDGRID.post(events, at=now - SKEW - 60), 401),
        "sendgrid: from the future": ("sendgrid", SENDGRID.post(events, at=now + SKEW + 60), 401),
        "sendgrid: not JSON": ("sendgrid", SENDGRID.post(b"event=delivered"), 400),
        "sendgrid: not a list": ("sendgrid", SENDGRID.post({"event": "delivered"}), 400),
        "sendgrid: deep": ("sendgrid", SENDGRID.post(b"[" * 100_000), 400),
        "sendgrid: bad UTF-8": ("sendgrid", SENDGRID.post(b'["\xff"]'), 400),
        "sendgrid: a time that cannot be": (
            "sendgrid",
            SENDGRID.post([{**events[0], "timestamp": 1e300}]),
            400,
        ),
        "mailgun: another token": ("mailgun", (json.dumps(altered).encode(), {}), 401),
        "mailgun: too old": ("mailgun", mailgun("delivered", ID, at=now - SKEW - 60), 401),
        "mailgun: from the future": ("mailgun", mailgun("delivered", ID, at=now + SKEW + 60), 401),
        "mailgun: not signed": ("mailgun", (b'{"event-data": {}}', {}), 400),
        "mailgun: empty": ("mailgun", (b"", {}), 400),
        "onesignal: another secret": ("onesignal", onesignal("message.push.received", ID, secret="x" * 20), 401),
        "onesignal: no secret": ("onesignal", (onesignal("message.push.received", ID)[0], {}), 401),
        "onesignal: not JSON": ("onesignal", (b"{", onesignal("", ID)[1]), 400),
        "not configured": ("postmark", (b"{}", {}), 404),
    }


class TestWhatIsRefused:
    @pytest.mark.parametrize("case", list(_refusals()))
    async def test_it_is_refused_in_the_envelope_and_changes_nothing(self, provider: Provider, case: str) -> None:
        name, posted, status = _refusals()[case]  # made now: they are of this minute
        reads = list(provider.gateway.store.reads)
        answer = await provider.post(name, posted)
        assert answer.status_code == status
        body = answer.json()
        assert (body["success"], body["data"], bool(body["error"]["message"])) == (False, None, True)
        assert (provider.heard, provider.gateway.store.reads) == ([], reads)

    async def test_one_that_is_too_large_is_refused_by_what_it_announces(self, provider: Provider) -> None:
        answer = await provider.post("sendgrid", (b" " * (MAX_BODY + 1), {}))
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "TOO_LARGE")

    async def test_one_that_announces_nothing_is_refused_where_it_becomes_too_large(self, served: Provider) -> None:
        async def endless() -> AsyncIterator[bytes]:
            for _ in range(MAX_BODY // 65_536 + 1):
                yield b" " * 65_536

        answer = await served._http.post("/webhooks/mailgun", content=endless())
        assert answer.status_code == 413

    async def test_only_posts_are_taken(self, served: Provider) -> None:
        assert (await served._http.get("/webhooks/sendgrid")).status_code == 405

    async def test_while_the_database_is_away_the_provider_is_told_to_say_it_again(self, provider: Provider) -> None:
        provider.gateway.store.failing = DatabaseUnavailable("The gateway database does not answer.")
        posted = SENDGRID.post([sendgrid_event("delivered", ID)])
        answer = await provider.post("sendgrid", posted)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        provider.gateway.store.failing = None
        assert (await provider.post("sendgrid", posted)).status_code == 200
        assert only(provider).kind is K.DELIVERED


@pytest.mark.parametrize(
    "key", ["", "not base64!", "AAAA", "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="]
)
def test_a_verification_key_that_is_none_is_named_at_the_start(key: str) -> None:
    with pytest.raises(ConfigurationError, match="HELIOGRAPH_SENDGRID_WEBHOOK_KEY"):
        SendGridWebhook(key, SKEW)
