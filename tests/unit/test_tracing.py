"""Spans by OpenTelemetry: which trace they belong to, what they hold, and what becomes of them when nobody listens."""

import asyncio
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from api import tracing
from api.http import Correlation
from api.otel import MAX_LINKS, OtelTracer, open_tracer
from api.settings import load_settings
from api.system import System
from api.tracing import TracedCalls, TracedRequests, tracer_of
from domain.errors import ConfigurationError, NotFound
from domain.notification import Outcome
from domain.outgoing import Answer, OutgoingEmail
from domain.telemetry import traceparent
from domain.tracing import UNTRACED, Kind
from tests.unit.send_fakes import World
from workers.traced import traced_email

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = f"00-{TRACE}-00f067aa0ba902b7-01"
UNSAMPLED = f"00-{TRACE}-00f067aa0ba902b7-00"
NOBODY = "http://127.0.0.1:9"


class Traced:
    """A tracer, and what it has recorded."""

    def __init__(self, sample: float = 1.0) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracer = OtelTracer("test", SimpleSpanProcessor(self._exporter), sample=sample)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """By name."""
        return {span.name: span for span in self._exporter.get_finished_spans()}


@pytest.fixture
def traced() -> Traced:
    return Traced()


def traces(spans: Iterable[ReadableSpan]) -> set[str]:
    return {f"{span.context.trace_id:032x}" for span in spans if span.context is not None}


def parent_of(span: ReadableSpan) -> str | None:
    return None if span.parent is None else f"{span.parent.span_id:016x}"


class TestTracer:
    def test_a_span_is_the_child_of_the_traceparent_that_is_named(self, traced: Traced) -> None:
        with traced.tracer.span("work", parent=CALLER):
            pass
        assert traces(traced.spans.values()) == {TRACE}
        assert parent_of(traced.spans["work"]) == "00f067aa0ba902b7"

    def test_spans_within_a_span_are_its_children_and_what_comes_after_is_not(self, traced: Traced) -> None:
        with traced.tracer.span("outer") as outer, traced.tracer.span("inner"):
            assert traced.tracer.current() is not outer
        with traced.tracer.span("after"):
            pass
        assert outer.traceparent is not None
        assert parent_of(traced.spans["inner"]) == outer.traceparent.split("-")[2]
        assert parent_of(traced.spans["after"]) is None
        assert traceparent.get() is None

    def test_a_trace_of_its_own_may_begin_within_another(self, traced: Traced) -> None:
        with traced.tracer.span("outer"), traced.tracer.span("inner", parent=None):
            pass
        assert len(traces(traced.spans.values())) == 2

    @pytest.mark.parametrize("bad", ["", "00-x", f"00-{'0' * 32}-{'0' * 16}-01", "ff" * 30])
    def test_a_traceparent_that_is_none_begins_a_trace(self, traced: Traced, bad: str) -> None:
        with traced.tracer.span("work", parent=bad):
            pass
        assert parent_of(traced.spans["work"]) is None

    def test_links_are_bounded_and_name_each_span_once(self, traced: Traced) -> None:
        many = [f"00-{TRACE}-{number:016x}-01" for number in range(1, 500)]
        with traced.tracer.span("work", links=[CALLER, CALLER, None]) as span:
            span.link([None, *many])
        assert len(traced.spans["work"].links) == MAX_LINKS

    def test_an_exception_marks_the_span_without_its_text(self, traced: Traced) -> None:
        with pytest.raises(NotFound), traced.tracer.span("work"):
            raise NotFound("user", "ada@example.com")
        span = traced.spans["work"]
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "NotFound")
        assert span.events == ()

    def test_what_the_caller_did_not_sample_is_not_recorded_and_says_so_to_the_next(self, traced: Traced) -> None:
        with traced.tracer.span("work", parent=UNSAMPLED) as span:
            assert span.traceparent is not None
        assert traced.spans == {}
        assert (span.traceparent.split("-")[1], span.traceparent[-2:]) == (TRACE, "00")

    def test_of_the_traces_that_begin_here_only_the_share_is_recorded(self) -> None:
        none = Traced(sample=0.0)
        with none.tracer.span("ours"), none.tracer.span("within"):
            pass
        with none.tracer.span("theirs", parent=CALLER):
            pass
        assert set(none.spans) == {"theirs"}

    def test_the_environment_names_the_service(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert _service(Traced()) == "heliograph-test"
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod,service.name=shop")
        assert _service(Traced()) == "shop"

    async def test_a_collector_that_is_away_holds_nobody_up(self) -> None:
        tracer = open_tracer("test", NOBODY, 1.0)
        for _ in range(10):
            with tracer.span("work"):
                pass
        async with asyncio.timeout(30):
            await tracer.close()
            await tracer.close()


def _service(traced: Traced) -> Any:
    with traced.tracer.span("work"):
        pass
    return traced.spans["work"].resource.attributes["service.name"]


class TestSettings:
    def test_without_a_collector_nothing_is_traced_and_no_exporter_is_imported(self) -> None:
        program = (
            "import sys, api.bootstrap; sys.exit('api.otel' in sys.modules or 'opentelemetry.exporter' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
        assert tracer_of(load_settings(otlp_url=None), "test", System()) is UNTRACED

    def test_without_the_extra_the_start_stops_with_a_line_that_names_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tracing, "_EXTRA", "opentelemetry.exporter.nobody_has_it")
        with pytest.raises(ConfigurationError, match=r"^HELIOGRAPH_OTLP_URL: .*heliograph\[otel\]"):
            tracer_of(load_settings(otlp_url=NOBODY), "test", System())

    @pytest.mark.parametrize("bad", [{"otlp_url": "collector:4318"}, {"trace_sample": 1.5}])
    def test_a_bad_value_is_named(self, bad: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=f"HELIOGRAPH_{next(iter(bad)).upper()}"):
            load_settings(**bad)


def service(traced: Traced) -> httpx.ASGITransport:
    """A service of ours that answers with the traceparent that it saw."""

    async def seen(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.headers.get("traceparent", ""))

    routes = [Route("/v1/users/{id}", seen), Route("/unsubscribe/{token}", seen), Route("/health", seen)]
    app = Starlette(routes=routes, middleware=[Middleware(Correlation)])
    return httpx.ASGITransport(app=TracedRequests(app, traced.tracer))


async def get(transport: httpx.AsyncBaseTransport, path: str, headers: Mapping[str, str] | None = None) -> str:
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return (await client.get(path, headers=headers)).text


class TestHttp:
    async def test_a_call_of_our_other_services_is_one_trace_on_both_sides(self, traced: Traced) -> None:
        with traced.tracer.span("caller", parent=CALLER):
            seen = await get(TracedCalls("users", service(traced), traced.tracer), "/v1/users/usr_1")
        asked, answered = traced.spans["GET users"], traced.spans["GET /v1/users/{id}"]
        assert traces(traced.spans.values()) == {TRACE}
        assert asked.context is not None
        assert parent_of(answered) == f"{asked.context.span_id:016x}"
        assert answered.context is not None
        assert seen == f"00-{TRACE}-{answered.context.span_id:016x}-01"

    async def test_a_request_without_a_traceparent_begins_a_trace(self, traced: Traced) -> None:
        assert (await get(service(traced), "/v1/users/usr_1")).startswith("00-")

    async def test_a_path_is_told_as_its_route(self, traced: Traced) -> None:
        await get(service(traced), "/unsubscribe/a-token-that-is-a-secret?email=ada@example.com")
        (span,) = traced.spans.values()
        assert span.name == "GET /unsubscribe/{token}"
        assert (span.attributes or {})["http.route"] == "/unsubscribe/{token}"
        assert "secret" not in span.to_json()
        assert "ada" not in span.to_json()

    async def test_health_is_no_span(self, traced: Traced) -> None:
        await get(service(traced), "/health")
        assert traced.spans == {}

    async def test_two_traceparents_are_none(self, traced: Traced) -> None:
        async with httpx.AsyncClient(transport=service(traced), base_url="http://service") as client:
            await client.get("/v1/users/usr_1", headers=[("traceparent", CALLER), ("traceparent", CALLER)])
        assert traces(traced.spans.values()) != {TRACE}


class Mailer:
    """An email provider that refuses."""

    name = "smtp"

    async def send(self, mail: OutgoingEmail, deadline: float) -> Answer:
        return Answer(outcome=Outcome.PERMANENT, code="5.1.1", detail=f"550 <{mail.to}> unknown")

    async def close(self) -> None: ...


MAIL = OutgoingEmail(
    to="ada@example.com",
    to_name=None,
    sender="shop@example.com",
    sender_name=None,
    subject="Your order",
    html=None,
    text="-",
    message_id="<ntf_1@example.com>",
    notification_id="ntf_1",
)


class TestProviders:
    async def test_a_call_tells_outcome_and_code_and_nothing_of_the_recipient(self, traced: Traced) -> None:
        (provider,) = traced_email([Mailer()], traced.tracer)
        assert (await provider.send(MAIL, 1.0)).outcome is Outcome.PERMANENT
        (span,) = traced.spans.values()
        assert span.kind.name == Kind.CLIENT
        assert dict(span.attributes or {}) == {
            "heliograph.provider": "smtp",
            "heliograph.notification.id": "ntf_1",
            "heliograph.outcome": "PERMANENT",
            "heliograph.code": "5.1.1",
        }
        assert span.status.status_code is StatusCode.ERROR

    def test_without_tracing_it_is_the_provider_itself(self) -> None:
        provider = Mailer()
        assert list(traced_email([provider], UNTRACED)) == [provider]


class TestAccepting:
    async def test_a_request_without_a_trace_gets_one_that_its_notifications_go_on_with(self, traced: Traced) -> None:
        world = World(traced.tracer)
        order = await world.order()
        (span,) = traced.spans.values()
        assert span.context is not None
        assert order.traceparent is not None
        assert order.traceparent[:-2] == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-"

    async def test_without_tracing_the_callers_trace_travels_on(self) -> None:
        order = await World().order(traceparent=CALLER)
        assert order.traceparent == CALLER
