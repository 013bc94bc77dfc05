"""What is counted, where it is counted: requests, messages, answers of providers, status changes, dependencies."""

from datetime import timedelta
from typing import Any, cast

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from api.database import Databases
from api.gateway.removal_round import Kept
from api.gateway.retention import Retention
from api.health import Checkup
from api.meters import Meters
from api.pulse import Pulse
from api.timing import Timing
from domain.callbacks import Callbacks
from domain.errors import Unavailable
from domain.events import Attempt
from domain.ids import NOTIFICATION, moment_of, new_id
from domain.metrics import METRICS
from domain.notification import Channel, Outcome, Status
from domain.ports import Bell, LogRow
from domain.vitals import Vitals, decode
from tests.contracts.brokers import emails, receive, until_depth
from tests.services.service_fakes import NOON
from workers.broker.memory import MemoryBroker
from workers.broker.metered import MeteredBroker
from workers.broker.topology import EMAIL_QUEUE
from workers.email.bounces import BounceListener
from workers.email.return_path import ReturnPaths

ME = Vitals(id="ins_1", roles=("email",), version="1", started_at=NOON, seen_at=NOON, status="ok")


@pytest.fixture
def meters() -> Meters:
    return Meters()


def value(meters: Meters, name: str, **labels: str) -> float | None:
    """What /metrics would show."""
    return meters.registry.get_sample_value(name, labels)


async def test_requests_are_counted_by_the_pattern_of_their_path(meters: Meters) -> None:
    async def answer(request: Request) -> Response:
        return PlainTextResponse("", 404 if request.path_params["id"] == "none" else 200)

    routes = [Route("/v1/things/{id}", answer, methods=["GET"])]
    app = Timing(Starlette(routes=routes), meters.http.answered)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://here") as client:
        for path in ("/v1/things/1", "/v1/things/2", "/v1/things/none", "/elsewhere/3"):
            await client.get(path)
        await client.request("BREW", "/pot")
    route, name = "/v1/things/{id}", "heliograph_http_requests_total"
    assert value(meters, name, method="GET", route=route, status="200") == 2
    assert value(meters, name, method="GET", route=route, status="404") == 1
    assert value(meters, name, method="GET", route="none", status="404") == 1
    assert value(meters, name, method="OTHER", route="none", status="404") == 1
    assert value(meters, "heliograph_http_request_seconds_count", route=route) == 3


async def test_messages_are_counted_once_they_are_confirmed_and_settled(meters: Meters) -> None:
    broker = MeteredBroker(MemoryBroker(max_length=3), meters.queues)
    await broker.connect()
    await broker.publish(emails("a", "b", "c"))
    with pytest.raises(Unavailable):
        await broker.publish(emails("one too many"))
    async with broker.consume(EMAIL_QUEUE, 10) as messages:
        first, second, third = await receive(messages, 3)
        await first.ack()
        await second.requeue()
        await third.reject("no use")
    await until_depth(broker, EMAIL_QUEUE, 1)
    assert value(meters, "heliograph_queue_published_total", queue=EMAIL_QUEUE) == 3
    for how in ("ack", "requeue", "reject"):
        assert value(meters, "heliograph_queue_consumed_total", queue=EMAIL_QUEUE, settled=how) == 1
    await broker.close()


def test_answers_of_providers_are_counted_by_outcome(meters: Meters) -> None:
    for outcome in (Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.UNKNOWN):
        attempt = Attempt(number=1, provider="smtp", outcome=outcome, started_at=NOON, duration_ms=30)
        meters.deliveries.attempted(Channel.EMAIL, attempt)
    labels: dict[str, Any] = {"channel": "EMAIL", "provider": "smtp"}
    assert value(meters, "heliograph_attempts_total", outcome="accepted", **labels) == 2
    assert value(meters, "heliograph_attempts_total", outcome="unknown", **labels) == 1
    assert value(meters, "heliograph_attempt_seconds_count", **labels) == 3
    assert value(meters, "heliograph_attempt_seconds_bucket", le="0.025", **labels) == 0
    assert value(meters, "heliograph_attempt_seconds_bucket", le="0.05", **labels) == 3


def row(id: str, status: Status, previous: Status, seconds: float) -> LogRow:
    """An entry of the log, so many seconds after the notification was made."""
    at = moment_of(id) + timedelta(seconds=seconds)
    return LogRow(
        position=1,
        sequence=2,
        notification_id=id,
        request_id="r",
        request="req_1",
        client="c",
        user_id=None,
        channel=Channel.EMAIL,
        category="general",
        status=status,
        previous_status=previous,
        reason=None,
        attempt=1,
        provider=None,
        detail=None,
        occurred_at=at,
        recorded_at=at,
        correlation_id="cor_1",
    )


class TestStatuses:
    def test_changes_are_counted_and_the_way_to_sent_is_timed(self, meters: Meters) -> None:
        id = new_id(NOTIFICATION)
        meters.statuses.recorded([row(id, Status.QUEUED, Status.ACCEPTED, 1), row(id, Status.SENT, Status.SENDING, 4)])
        assert value(meters, "heliograph_status_changes_total", channel="EMAIL", status="SENT") == 1
        assert value(meters, "heliograph_end_to_end_seconds_sum", channel="EMAIL") == pytest.approx(4.0)

    def test_what_was_scheduled_is_timed_from_when_it_was_due(self, meters: Meters) -> None:
        id = new_id(NOTIFICATION)
        meters.statuses.recorded([row(id, Status.QUEUED, Status.SCHEDULED, 3600)])
        meters.statuses.recorded([row(id, Status.SENT, Status.SENDING, 3602)])
        assert value(meters, "heliograph_end_to_end_seconds_sum", channel="EMAIL") == pytest.approx(2.0)


class Ear:
    """Hears what a pulse tells."""

    def __init__(self) -> None:
        self.told: list[Vitals] = []

    def ring(self, channel: str, payload: bytes = b"") -> None:
        vitals = decode(payload)
        assert vitals is not None
        self.told.append(vitals)


async def fine() -> None:
    """A dependency that is well."""


async def away() -> None:
    """One that is not."""
    raise Unavailable("It is away.")


async def test_a_pulse_tells_what_health_and_metrics_say(meters: Meters) -> None:
    ear, checks = Ear(), {"database": fine, "feed": fine}
    meters.queues.published("status.queue", 7)
    meters.breakers.watch("smtp", Channel.EMAIL, lambda: "OPEN")
    pulse = Pulse(ME, Checkup(checks, ("feed",)), cast(Bell, ear), meters.registry)
    await pulse.beat()
    checks["feed"] = away
    await pulse.beat()
    checks["database"] = away
    await pulse.beat()
    await pulse.stop()
    assert [told.status for told in ear.told] == ["ok", "degraded", "down", "stopped"]
    assert ear.told[0].seen_at > NOON
    told = {(sample.name, *sample.labels.values()): sample.value for sample in ear.told[0].samples}
    assert told["heliograph_queue_published_total", "status.queue"] == 7
    assert told["heliograph_breaker_state", "smtp", "EMAIL"] == 2
    assert value(meters, "heliograph_dependency_up", dependency="database") == 0


async def test_every_metric_has_one_instrument(meters: Meters, databases: Databases) -> None:
    for name in ("http", "graphql", "calls", "queues", "levels", "breakers", "deliveries", "statuses", "loop"):
        getattr(meters, name)
    meters.feed.watch(lambda: 1, lambda: 2, lambda: 3)
    meters.tell_who(ME)
    Pulse(ME, Checkup({}), cast(Bell, Ear()), meters.registry)
    BounceListener(("127.0.0.1", 0), cast(ReturnPaths, None), cast(Callbacks, None), metrics=meters.registry)
    Retention(databases["gateway"], Kept(None, None), metrics=meters.registry)
    made = {family.name for family in meters.registry.collect()}
    assert {metric.name.removesuffix("_total") for metric in METRICS} <= made
