"""One notification through every role as a process: one grep tells its life, and one trace shows it.

It fails once, is sent on the second attempt, and comes back by a webhook. Beside it others meet every fate that the
sandbox knows, so that everything that goes wrong is logged once.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest

from domain.ids import USER, new_id
from tests.e2e.api import Api
from tests.e2e.collector import Collector, Recorded, collecting
from tests.e2e.conftest import GIVEN, Running, start_compose
from tests.servers.roles import API_KEY
from tests.services.provider_posts import SendGrid, sendgrid_event
from workers.sandbox.fates import DOMAIN, MAIL_FATES, PUSH_FATES

SENDGRID = SendGrid()
CORRELATION = "order-4711:confirmation"
CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{CALLER}-00f067aa0ba902b7-01"
ADDRESS = "defer+observed@sandbox.heliograph.test"
CREATE_USER = "mutation ($input: CreateUserInput!) { create_user(input: $input) { success } }"
PERSONAL = "personal77"
"""Part of every address and token that meets a fate."""
WRONG_KEY = "hg_00000000000000000000000000000bad"
ENDLESS = "sandbox-quota"
"""It is put off for longer than a test waits."""
SECRETS = ("HELIOGRAPH_SERVICE_TOKEN", "HELIOGRAPH_SECRET", "HELIOGRAPH_JWT_SECRET")
SECONDS = 40.0


class Observed(msgspec.Struct, frozen=True):
    """What is left of one life: the notification, what each role logged, and the spans. `failed` are others."""

    id: str
    running: Running
    collector: Collector
    failed: set[str] = set()

    def logs(self) -> dict[str, str]:
        """By role."""
        return {name: process.log_text() for name, process in self.running.cluster.processes.items()}

    def grep(self) -> list[dict[str, Any]]:
        """The lines of all roles that hold the correlation id, in order of time."""
        lines = [line for text in self.logs().values() for line in text.splitlines() if CORRELATION in line]
        return sorted(map(json.loads, lines), key=lambda line: line["timestamp"])

    def steps(self, event: str, **wanted: Any) -> list[dict[str, Any]]:
        """Those lines that say this."""
        return [line for line in self.grep() if {"event": event, **wanted}.items() <= line.items()]

    async def until(self, event: str, **wanted: Any) -> None:
        """Wait until a role says this."""
        async with asyncio.timeout(SECONDS):
            while not self.steps(event, **wanted):  # noqa: ASYNC110 - it is said elsewhere
                await asyncio.sleep(0.05)

    def span(self, name: str, **attributes: Any) -> Recorded:
        """The one span of this name, with these attributes, that is in the caller's trace."""
        mine = [span for span in self.collector.named(name) if span.trace == CALLER]
        (found,) = [span for span in mine if attributes.items() <= span.attributes.items()]
        return found


@pytest.fixture(scope="module")
async def observed(
    postgres: Any, rabbitmq: Any, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Observed]:
    """The life, from the mutation to the bounce."""
    with ExitStack() as stack:
        collector = stack.enter_context(collecting())
        more = {
            "HELIOGRAPH_SENDGRID_WEBHOOK_KEY": SENDGRID.public_key,
            "HELIOGRAPH_OTLP_URL": collector.url,
            "HELIOGRAPH_LOG_LEVEL": "DEBUG",
            "HELIOGRAPH_DELIVERY_DEADLINE_SECONDS": "2",
            "HELIOGRAPH_LEASE_SECONDS": "8",
            "HELIOGRAPH_BREAKER_FAILURES": "1000",
        }
        folder = tmp_path_factory.mktemp("observed")
        running = await asyncio.to_thread(start_compose, stack, postgres, rabbitmq, redis_server, folder, **more)
        async with Api(running.port, API_KEY) as api:
            yield await live(api, running, collector)


async def live(api: Api, running: Running, collector: Collector) -> Observed:
    user = new_id(USER)
    assert (await api.payload(CREATE_USER, input={"id": user, "email": ADDRESS}))["success"]
    api.http.headers.update({"X-Correlation-ID": CORRELATION, "traceparent": TRACEPARENT})
    observed = Observed(await api.send_one(recipient={"user_id": user}), running, collector)
    del api.http.headers["X-Correlation-ID"], api.http.headers["traceparent"]
    await observed.until("recorded", status="SENT")
    reason = f"550 5.1.1 <{ADDRESS}> unknown"
    body, headers = SENDGRID.post([sendgrid_event("bounce", observed.id, type="bounce", status="5.1.1", reason=reason)])
    answer = await api.http.post("/webhooks/sendgrid", content=body, headers={**headers, "X-Correlation-ID": "bounced"})
    assert answer.status_code == 200
    await observed.until("recorded", status="BOUNCED")
    failed = await meet_every_fate(api)
    # A role that stops sends what it has.
    await asyncio.to_thread(running.cluster.stop)
    return msgspec.structs.replace(observed, failed=failed)


async def meet_every_fate(api: Api) -> set[str]:
    """Every fate of the sandbox that has an end, and callers that are not let in; those that FAILED."""
    mails = [{"email": f"{fate.name}+{PERSONAL}@{DOMAIN}"} for fate in MAIL_FATES]
    pushes = [{"device_token": f"{fate.name}-{PERSONAL}"} for fate in PUSH_FATES if fate.name != ENDLESS]
    sent = [api.send_one(recipient=one) for one in mails]
    sent += [api.send_one(recipient=one, channels=["PUSH"]) for one in pushes]
    ids = await asyncio.gather(*sent)
    ended = await asyncio.gather(*(api.until(id, "SENT", "FAILED") for id in ids))
    async with Api(api.port, WRONG_KEY) as stranger:
        assert "errors" in await stranger.call("{ __typename }")
    forged = await api.http.post("/webhooks/sendgrid", content=b"[]")
    assert forged.status_code == 401
    return {one["id"] for one in ended if one["status"] == "FAILED"}


class TestOneGrep:
    def test_tells_the_whole_life_in_order(self, observed: Observed) -> None:
        # A worker may be quicker than the confirmation that makes the dispatcher say `published`: those are below.
        life = [
            (line["role"], line["event"], line.get("outcome") or line.get("status") or line.get("kind"))
            for line in observed.grep()
            if line["event"] in ("accepted", "attempted", "callback") or line.get("status") in ("SENT", "BOUNCED")
        ]
        assert life == [
            ("gateway", "accepted", None),
            ("email", "attempted", "TRANSIENT"),
            ("email", "attempted", "ACCEPTED"),
            ("relay", "recorded", "SENT"),
            ("gateway", "callback", "BOUNCED"),
            ("gateway", "recorded", "BOUNCED"),
        ]

    def test_tells_each_status_with_its_sequence(self, observed: Observed) -> None:
        told = observed.steps("recorded")
        assert [line["sequence"] for line in told] == list(range(2, 2 + len(told)))
        statuses = [line["status"] for line in told]
        # A claim may overtake its QUEUED, which then says nothing new.
        assert [one for one in statuses if one != "QUEUED"] == ["SENDING", "RETRYING", "SENDING", "SENT", "BOUNCED"]

    def test_tells_when_each_attempt_was_published(self, observed: Observed) -> None:
        assert sorted(line["attempt"] for line in observed.steps("published")) == [1, 2]

    def test_tells_what_each_attempt_came_to(self, observed: Observed) -> None:
        first, second = observed.steps("attempted")
        assert (first["provider"], first["code"], first["attempt"]) == ("smtp", "4.7.1", 1)
        assert (second["provider"], second["attempt"]) == ("smtp", 2)
        assert first["retry_at"] > first["timestamp"]
        assert second["duration_ms"] >= 0

    def test_every_line_names_notification_role_and_level(self, observed: Observed) -> None:
        for line in observed.grep():
            named = line.get("notification_ids") or [line["notification_id"]]
            assert named == [observed.id]
            assert line["role"] in {"gateway", "dispatch", "email", "relay"}
            assert line["level"] == "info"

    def test_what_a_webhook_brought_names_the_webhooks_own_correlation_id(self, observed: Observed) -> None:
        assert [line["brought_by"] for line in observed.steps("callback")] == ["bounced"]

    def test_whatever_goes_wrong_is_told_and_ends_as_a_dead_letter(self, observed: Observed) -> None:
        lines = [json.loads(line) for line in observed.logs()["relay"].splitlines()]
        letters = [line for line in lines if line["event"] == "dead-lettered"]
        assert sorted(line["notification_id"] for line in letters) == sorted(observed.failed)
        assert len(observed.failed) > 10
        assert {line["level"] for line in letters} == {"warning"}
        assert all(line["code"] and line["reason"] for line in letters)

    def test_no_role_ever_wrote_an_address_a_token_or_a_key(self, observed: Observed) -> None:
        keys = [API_KEY, WRONG_KEY, SENDGRID.public_key, "Bearer"]
        secrets = [ADDRESS, "defer+observed", PERSONAL, *keys, *map(GIVEN.__getitem__, SECRETS)]
        for role, text in observed.logs().items():
            assert [secret for secret in secrets if secret in text] == [], role


class TestOneTrace:
    def test_leads_from_the_callers_mutation_to_the_provider(self, observed: Observed) -> None:
        mutation = observed.span("mutation")
        accept = observed.span("accept")
        deliver = observed.span("deliver", **{"heliograph.attempt": 2})
        (call,) = [span for span in observed.collector.named("call smtp") if span.parent == deliver.id]
        assert (mutation.service, mutation.parent) == ("heliograph-gateway", TRACEPARENT.split("-")[2])
        assert mutation.attributes["graphql.operation.name"] == "Send"
        assert (accept.service, accept.parent) == ("heliograph-gateway", mutation.id)
        assert (deliver.service, deliver.parent) == ("heliograph-email", accept.id)
        assert (call.trace, call.attributes["heliograph.outcome"]) == (CALLER, "ACCEPTED")

    def test_shows_the_attempt_that_failed_as_failed(self, observed: Observed) -> None:
        first, second = (observed.span("deliver", **{"heliograph.attempt": number}) for number in (1, 2))
        assert (first.failed, second.failed) == (True, False)

    def test_goes_through_the_queue(self, observed: Observed) -> None:
        sent = {span.id for span in observed.collector.named("send email") if span.trace == CALLER}
        processed = [span for span in observed.collector.named("process email.queue") if span.trace == CALLER]
        assert len(sent) == 2
        assert {span.parent for span in processed} == sent
        (accept,) = {(CALLER, observed.span("accept").id)}
        assert all(accept in span.links for span in processed)

    def test_shows_what_the_relay_recorded(self, observed: Observed) -> None:
        recorded = observed.span("record SENT")
        assert (recorded.service, recorded.parent) == ("heliograph-relay", observed.span("accept").id)

    def test_shows_the_calls_of_our_other_services(self, observed: Observed) -> None:
        asked = [span for span in observed.collector.spans if span.trace == CALLER and span.name == "POST users"]
        answered = [span for span in observed.collector.spans if span.service == "heliograph-users"]
        assert asked
        assert {span.id for span in asked} <= {span.parent for span in answered}

    def test_the_webhook_is_linked_to_the_trace_that_it_answers(self, observed: Observed) -> None:
        accept = observed.span("accept")
        webhooks = observed.collector.named("POST /webhooks/{provider}")
        (webhook,) = [span for span in webhooks if span.attributes["http.response.status_code"] == 200]
        assert webhook.trace != CALLER
        assert webhook.links == ((CALLER, accept.id),)
        callback = observed.span("callback")
        assert (callback.parent, callback.links) == (accept.id, ((webhook.trace, webhook.id),))

    def test_no_span_holds_an_address_or_a_text_of_the_callers(self, observed: Observed) -> None:
        told = " ".join(str(span.attributes) for span in observed.collector.spans)
        assert "@" not in told
        assert "World" not in told
